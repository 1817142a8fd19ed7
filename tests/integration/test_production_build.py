"""The production image holds no testbed: its package is built as the Dockerfile builds it and run without the demo extra."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from testbed.brokers import Broker
from vitalwire.cli.testbed_needed import DEMO_MODULES

ROOT = Path(__file__).parents[2]
RUN = """
import sys
for name in {absent!r}:
    assert name != "testbed" or __import__("importlib.util").util.find_spec(name) is None, "the testbed can be imported"
    sys.modules[name] = None
from vitalwire.cli import main
main({arguments!r})
"""


def stage(name: str) -> list[str]:
    """The lines of one stage of the Dockerfile, after those of the stage that it is built from."""
    text = (ROOT / "deploy/Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM|\Z)", text, re.MULTILINE | re.DOTALL)
    for base, known, body in stages:
        if known == name:
            return (stage(base) if base in {one for _, one, _ in stages} else []) + body.splitlines()
    raise AssertionError(f"the Dockerfile has no stage {name}")


def copied(lines: list[str]) -> list[str]:
    return [path for line in lines if line.startswith("COPY ") and "--from" not in line for path in line.split()[1:-1]]


def built(sources: list[str], directory: Path) -> list[str]:
    """The file names in the wheel made of `sources`, which is unpacked to `directory / "installed"`."""
    for name in sources:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, directory / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(directory / "wheel"), str(directory)], check=True, timeout=120)
    (wheel,) = (directory / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(directory / "installed")
        return packed.namelist()


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    directory = tmp_path_factory.mktemp("production")
    names = built(copied(stage("build")), directory)
    return directory / "installed", names


def vitalwire(installed: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command of the production package alone: -S leaves the checkout's editable install out."""
    path = os.pathsep.join([str(installed), sysconfig.get_path("purelib")])
    given = {"PATH": os.environ["PATH"], "HOME": str(installed), "PYTHONPATH": path} | environment
    program = RUN.format(absent=sorted(DEMO_MODULES), arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-S", "-c", program],
        env=given,
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_production_package_holds_every_room_but_the_testbed(production: tuple[Path, list[str]]):
    _, names = production

    assert {name.split("/")[0] for name in names if not name.startswith("vitalwire-")} == {
        "schemas",
        "mappings",
        "streams",
        "adapters",
        "vitalwire",
    }
    metadata = (next(production[0].glob("*.dist-info")) / "METADATA").read_text()
    assert "Provides-Extra: demo" in metadata
    assert all('extra == "demo"' in line for line in metadata.splitlines() if "starlette" in line)


def test_the_production_image_installs_the_production_lock_alone():
    assert set(re.findall(r"requirements[\w-]*\.lock", " ".join(stage("build")))) == {
        "requirements.lock",
        "requirements-build.lock",
    }
    assert [line for line in stage("production") if line.startswith("COPY ")] == [
        "COPY --from=build /opt/vitalwire /opt/vitalwire"
    ]


def test_the_demo_image_adds_the_testbed_and_its_lock():
    lines = stage("build-demo")

    assert {"testbed", "deploy", "requirements-demo.lock"} <= set(copied(lines))


@pytest.mark.parametrize("command", ["worker", "topics", "reconcile", "demo"])
def test_production_shows_the_help_of_each_command(production: tuple[Path, list[str]], command: str):
    shown = vitalwire(production[0], command, "--help")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"vitalwire {command}" in shown.stdout


@pytest.mark.parametrize("command", ["demo", "broker", "sandbox-ehr"])
def test_commands_of_the_testbed_say_what_to_install(production: tuple[Path, list[str]], command: str):
    refused = vitalwire(production[0], command)

    assert refused.returncode == 2
    assert f"`vitalwire {command}` needs the testbed" in refused.stderr
    assert "pip install 'vitalwire[demo]'" in refused.stderr


def test_topics_and_reconcile_run_in_production(
    production: tuple[Path, list[str]], embedded_broker: Broker, topic_prefix: str, tmp_path: Path
):
    settings = {
        "VITALWIRE_KAFKA": embedded_broker.bootstrap_servers,
        "VITALWIRE_TOPIC_PREFIX": topic_prefix,
        "VITALWIRE_DATABASE": f"sqlite:///{tmp_path / 'ledger.sqlite'}",
    }
    made = vitalwire(production[0], "topics", **settings)
    assert made.returncode == 0, made.stderr

    migrate = "from adapters.ledger import migrate; import os; migrate(os.environ['VITALWIRE_DATABASE'])"
    subprocess.run([sys.executable, "-c", migrate], env=os.environ | settings, check=True, timeout=60, cwd=ROOT)
    counted = vitalwire(production[0], "reconcile", **settings)
    assert counted.returncode == 0, counted.stdout + counted.stderr


@pytest.mark.parametrize("role", ["telemetry", "clinical", "delivery"])
def test_each_role_starts_in_production_as_far_as_its_settings(production: tuple[Path, list[str]], role: str):
    refused = vitalwire(production[0], "worker", role)

    assert refused.returncode == 2
    assert "VITALWIRE_CONFIG" in refused.stderr
