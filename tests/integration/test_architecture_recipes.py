"""The recipes of docs/architecture.md are followed word by word in a copy of the tree, which is then tested."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", ".vitalwire", "build", "*.egg-info"
)
STEP = re.compile(
    r"(?:[Cc]reate `(?P<new>[^`]+)`|In `(?P<old>[^`]+)`, below `(?P<anchor>[^`]+)`, add).*?\n```\w+\n(?P<block>.*?)```\n",
    re.DOTALL,
)


class Step(NamedTuple):
    """One step of a recipe: a new file, or lines below an anchor of an existing one."""

    path: str
    anchor: str | None
    block: str


def recipe(heading: str) -> list[Step]:
    section = PAGE.split(f"\n### {heading}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    steps = [Step(m["new"] or m["old"], m["anchor"], m["block"]) for m in STEP.finditer(section)]
    assert len(steps) == section.count("```") // 2
    return steps


def follow(steps: list[Step], tree: Path) -> None:
    for step in steps:
        file = tree / step.path
        if step.anchor is None:
            assert not file.exists(), step.path
            file.write_text(step.block)
            continue
        lines = file.read_text().splitlines(keepends=True)
        (at,) = (number for number, line in enumerate(lines) if line.rstrip("\n").endswith(step.anchor))
        file.write_text("".join([*lines[: at + 1], step.block, *lines[at + 1 :]]))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    copy = tmp_path_factory.mktemp("copy") / "vitalwire"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    for heading in ("Add an EHR", "Add a role"):
        follow(recipe(heading), copy)
    done = run(copy, "-m", "vitalwire", "schemas")
    assert done.returncode == 0, done.stderr
    yield copy
    shutil.rmtree(copy)


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith(("VITALWIRE_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=given | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_recipes_touch_what_the_page_says_and_nothing_else():
    ehr, role = recipe("Add an EHR"), recipe("Add a role")

    assert [step.path for step in ehr if step.anchor] == []
    assert [step.path for step in role if step.anchor is None] == ["vitalwire/roles/backlog.py"]
    (registered,) = (step for step in role if step.path == "vitalwire/roles/registry.py")
    assert registered.block.count("\n") == 1


@pytest.mark.timeout(300)
def test_a_new_ehr_keeps_the_contract_of_every_adapter(tree: Path):
    done = run(
        tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_ehr_endpoints.py", "-k", "cedar"
    )

    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 10


def test_each_file_of_the_new_ehr_is_discovered(tree: Path):
    program = (
        "from adapters.ehr import ADAPTERS; from schemas.endpoint_kinds import DEFAULTS; "
        "from streams.delivery.dialects import DIALECTS; from testbed.sandbox_ehr.profiles import PROFILES; "
        "print(*('cedar' in found for found in (DEFAULTS, DIALECTS, ADAPTERS, PROFILES)), ADAPTERS['cedar'].__name__)"
    )

    assert run(tree, "-c", program).stdout.split() == ["True"] * 4 + ["CedarEndpoint"]


@pytest.mark.timeout(300)
def test_a_new_role_is_what_the_registry_tests_ask_for(tree: Path):
    tests = ("test_role_registry.py", "test_published_schemas.py", "test_sandbox_profiles.py", "test_pure_modules.py")
    done = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/unit/{name}" for name in tests))
    shown = run(tree, "-m", "vitalwire", "worker", "--help")

    assert done.returncode == 0, done.stdout
    assert "backlog" in shown.stdout


def test_the_new_files_keep_the_import_contracts_and_the_style(tree: Path):
    contracts = run(tree, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
    new = [
        step.path for heading in ("Add an EHR", "Add a role") for step in recipe(heading) if step.path.endswith(".py")
    ]
    style = run(tree, "-m", "ruff", "check", "--no-cache", *new)
    layout = run(tree, "-m", "ruff", "format", "--no-cache", "--check", *new)

    assert contracts.returncode == 0, contracts.stdout
    assert "0 broken" in contracts.stdout
    assert style.returncode == 0, style.stdout
    assert layout.returncode == 0, layout.stdout


def test_an_endpoint_of_the_new_kind_passes_the_check_of_configurations(tree: Path):
    config = tree / "cedar.yaml"
    config.write_text(
        "tenants:\n  north: {endpoints: [north-cedar]}\n"
        "endpoints:\n  north-cedar: {kind: cedar, base_url: 'https://fhir.cedar.example/r4'}\nvitals:\n  heart_rate: {}\n"
    )
    done = run(tree, "-m", "vitalwire", "check", str(config))

    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_every_path_on_the_page_exists_once_its_recipes_are_followed(tree: Path):
    named = set(
        re.findall(r"`((?:schemas|mappings|streams|adapters|testbed|vitalwire|deploy|tests|docs)/[\w./-]+)`", PAGE)
    )

    assert len(named) > 20
    assert [path for path in sorted(named) if not (tree / path).exists() and path != "streams/backlog/"] == []
