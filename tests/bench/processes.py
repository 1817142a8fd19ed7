"""Parts of a benchmark as processes of their own, so that what they use is not mixed with what measures them."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from testbed.servers.process import ServerProcess

THIS_CHECKOUT = Path(__file__).resolve().parents[2]


def result_of(module: str, arguments: Sequence[str], directory: Path, *, within_s: float) -> dict[str, Any]:
    """Run a module of this package to its end; what it wrote into the file that is its last argument."""
    file = directory / f"{module}.json"
    command = [sys.executable, "-m", f"tests.bench.{module}", *arguments, str(file)]
    subprocess.run(command, check=True, timeout=within_s)
    return cast(dict[str, Any], json.loads(file.read_text()))


def worker_environment(bootstrap_servers: str, directory: Path, configuration: str = "vitals: {}\n") -> dict[str, str]:
    """What the environment of the product's workers says."""
    config, key = directory / "vitalwire.yaml", directory / "identity.key"
    config.write_text(configuration)
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32))
    return {
        "VITALWIRE_KAFKA": bootstrap_servers,
        "VITALWIRE_CONFIG": str(config),
        "VITALWIRE_DATA": str(directory),
        "VITALWIRE_IDENTITY_KEY_FILE": str(key),
    }


def start_role(
    role: str, environment: dict[str, str], directory: Path, file: Path, *more: str, checkout: Path = THIS_CHECKOUT
) -> ServerProcess:
    """A role of the product with a stopwatch (`tests.bench.measured`), as it stands in a checkout."""
    given = [f"{name}={value}" for name, value in environment.items()]
    path = f"{checkout}:{_entry_points_of(checkout, directory)}"
    there = ["/usr/bin/env", f"--chdir={checkout}", f"PYTHONPATH={path}", *given]
    command = [*there, sys.executable, "-m", "tests.bench.measured", role, str(file), *more]
    return ServerProcess(f"The {role} worker", command, log_file=directory / f"{role}.log")


def _entry_points_of(checkout: Path, directory: Path) -> Path:
    """A directory with the metadata of a checkout, as an installer would write it.

    Faust looks its transport up in the metadata of the installed package, which names the module of one checkout only;
    metadata earlier on the path takes precedence.
    """
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    metadata = directory / f"metadata-{checkout.name}" / f"{project['name']}-{project['version']}.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in named.items())])
        for group, named in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    return metadata.parent
