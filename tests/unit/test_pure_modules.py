"""Every module whose docstring says that it is pure is held to that by the import contract."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "mappings", "streams", "adapters", "testbed", "vitalwire")


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def says_pure() -> set[str]:
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    documented = ((file, ast.get_docstring(ast.parse(file.read_text())) or "") for file in files)
    return {module_name(file) for file, text in documented if re.search(r"\bpure\b", text, re.IGNORECASE)}


def contract() -> dict[str, list[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = (one for one in contracts if one["name"].startswith("the pure core"))
    return found


def test_the_contract_covers_every_module_that_says_it_is_pure():
    covered = contract()["source_modules"]
    missing = {m for m in says_pure() if not any(m == one or m.startswith(f"{one}.") for one in covered)}

    assert missing == set()


def test_the_kernel_the_mappings_and_the_verdict_say_that_they_are_pure():
    assert {"mappings", "streams.telemetry.kernel", "streams.delivery.verdict"} <= says_pure()


def test_a_pure_module_imports_no_network_database_clock_thread_or_randomness():
    forbidden = {
        "httpx",
        "socket",
        "sqlalchemy",
        "confluent_kafka",
        "time",
        "random",
        "threading",
        "asyncio",
        "logging",
    }

    assert forbidden <= set(contract()["forbidden_modules"])
