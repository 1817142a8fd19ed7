"""What the compose file, image, dashboards and lock files say agrees with the program they deploy."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from mappings.linting import check_config
from schemas.metrics import CATALOGUE
from streams.delivery.role import Pace
from streams.runtime.outbox import SHUTDOWN_TIMEOUT_S
from vitalwire.cli.application import app
from vitalwire.cli.testbed_needed import DEMO_MODULES
from vitalwire.settings import from_environment

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "vitalwire"}
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))


def expressions() -> list[str]:
    asked = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
    for dashboard in DASHBOARDS:
        asked += [t["expr"] for panel in json.loads(dashboard.read_text())["panels"] for t in panel["targets"]]
    return asked


def exposed_names() -> dict[str, tuple[str, ...]]:
    """Every series name a role serves, with its labels."""
    names: dict[str, tuple[str, ...]] = {}
    for metric in CATALOGUE.values():
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        names |= {f"vitalwire_{metric.name}{suffix}": metric.labels for suffix in suffixes}
    return names


@pytest.mark.parametrize("name", OURS)
def test_each_service_runs_a_command_that_exists(name: str):
    command, *arguments = OURS[name]["command"]
    known = typer.main.get_command(app)

    context = known.commands[command].make_context(command, list(arguments))  # type: ignore[attr-defined]

    assert context.params.get("role", name) == name


@pytest.mark.parametrize("name", OURS)
def test_each_setting_of_a_service_is_one_that_is_read(name: str, tmp_path: Path):
    given = dict(OURS[name]["environment"])
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    given |= {variable: str(key) for variable in given if variable.endswith("_KEY_FILE")}

    settings = from_environment(given)

    assert settings.bootstrap_servers() == "kafka:9092"
    assert settings.configuration() == Path("/etc/vitalwire/vitalwire.yaml")
    assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", 9100)
    assert settings.database.startswith("postgresql+psycopg://")
    assert settings.identity() == settings.ledger_encryption() == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_a_read_only_system_and_no_capabilities(name: str):
    assert OURS[name]["read_only"] is True
    assert OURS[name]["cap_drop"] == ["ALL"]


def options(mount: str) -> set[str]:
    return set(mount.partition(":")[2].split(","))


@pytest.mark.parametrize("name", OURS)
def test_our_services_may_write_where_the_program_does_and_as_the_images_user(name: str):
    service, environment = OURS[name], OURS[name]["environment"]
    image = (ROOT / "deploy/Dockerfile").read_text()
    (user,) = re.findall(r"^USER (\d+)$", image, re.MULTILINE)
    in_memory = {mount.partition(":")[0]: options(mount) for mount in service["tmpfs"]}
    kept = {volume.split(":")[1] for volume in service["volumes"] if not volume.endswith(":ro")}

    assert f"uid={user}" in in_memory[environment["VITALWIRE_DATA"]]
    assert {environment["NUMBA_CACHE_DIR"], environment["SQLITE_TMPDIR"]} <= kept
    assert f"--owner={user} --mode=0700 {environment['NUMBA_CACHE_DIR']}" in image
    for variable in ("VITALWIRE_DATA", "NUMBA_CACHE_DIR"):
        assert f"{variable}={environment[variable]}" in image


@pytest.mark.parametrize("name", OURS)
def test_a_service_that_is_stopped_has_time_to_end_in_order(name: str):
    pace = Pace()
    (given_s,) = re.findall(r"^(\d+)s$", OURS[name]["stop_grace_period"])

    assert int(given_s) > 2 * pace.stop_within_s + SHUTDOWN_TIMEOUT_S


def test_every_published_port_is_on_loopback():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_every_file_that_is_mounted_exists():
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = {path for path in mounted if path.startswith("./")}

    assert files
    assert [path for path in files if not (ROOT / path).exists()] == []
    assert {path for path in mounted if not path.startswith("./")} == set(COMPOSE["volumes"])


def test_every_variable_that_must_be_set_is_in_the_example():
    text = (ROOT / "docker-compose.yml").read_text()
    needed = set(re.findall(r"\$\{(\w+)", text)) | {s["environment"] for s in COMPOSE["secrets"].values()}
    example = (ROOT / "deploy/compose/example.env").read_text()

    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == needed


def test_the_trial_configuration_passes_our_own_check():
    path = ROOT / "deploy/compose/vitalwire.yaml"

    assert check_config(path.read_text(), str(path), lambda _: None) == []


@pytest.mark.parametrize("expression", expressions())
def test_dashboards_and_alerts_ask_for_metrics_and_labels_that_exist(expression: str):
    known = exposed_names()
    asked = re.findall(r"vitalwire_\w+", expression)

    assert set(asked) <= known.keys()
    labels = {label for name in asked for label in known[name]} | {"le", "role"}
    grouped = [label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")]
    selected = re.findall(r"[{,]\s*(\w+)\s*=", expression) if asked else []
    assert set(grouped) | set(selected) <= labels


def test_dashboard_panels_have_ids_of_their_own_and_do_not_overlap():
    for dashboard in DASHBOARDS:
        panels = json.loads(dashboard.read_text())["panels"]
        assert panels
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


def test_each_image_runs_as_a_numbered_user_and_installs_by_hash():
    text = (ROOT / "deploy/Dockerfile").read_text()
    lines = text.splitlines()
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|\Z)", text, re.MULTILINE | re.DOTALL))

    assert re.search(r"^USER [1-9]\d*$", stages["runtime"], re.MULTILINE)
    assert re.findall(r"^FROM runtime AS (\S+)", text, re.MULTILINE) == ["demo", "production"] == list(stages)[-2:]
    assert not [name for name in ("demo", "production") if "USER" in stages[name]]
    installs = [part for line in lines if line.startswith("RUN pip") for part in line.split("&&")]
    assert all("--require-hashes" in part or "--no-deps" in part for part in installs)


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-demo.lock", "requirements-dev.lock", "requirements-build.lock"]
)
def test_lock_files_pin_every_package_by_hash_and_name_no_host(name: str):
    text = (ROOT / name).read_text()
    entries = re.findall(r"^(\S+==\S+) \\((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)", text, re.MULTILINE)

    assert len(entries) == len(re.findall(r"^[A-Za-z]", text, re.MULTILINE)) > 0
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_tests_run_with_the_versions_that_are_shipped():
    tested = pins("requirements-dev.lock")

    for name in ("requirements.lock", "requirements-demo.lock", "requirements-build.lock"):
        assert pins(name)
        assert pins(name).items() <= tested.items()


def test_production_installs_nothing_that_only_the_testbed_needs():
    named = set(re.findall(r"^[a-z][\w-]*$", (ROOT / "requirements-demo.in").read_text(), re.MULTILINE))

    assert {name.replace("-", "_") for name in named} == DEMO_MODULES - {"testbed"}
    assert named & pins("requirements.lock").keys() == set()
    assert pins("requirements-demo.lock").keys() == pins("requirements.lock").keys() | named
