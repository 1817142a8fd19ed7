"""`python -m tests.bench [SUBJECT …] [--readings N] [--rounds N] [--out FILE]`: measure, write bench.json, print a table."""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.bench.bars import table
from tests.bench.machine import facts
from tests.bench.plan import Plan

SUBJECTS = ("telemetry", "kernel", "memory", "catch_up", "fhir", "delivery", "latency")
"""Each is a module of this package with `measure(plan) -> Found`."""
VERSIONS = "versions"
"""So is this one, which needs another checkout and is measured only when named."""


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Vitalwire's benchmarks.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"any of {', '.join(SUBJECTS)}; all by default")
    parser.add_argument("--readings", type=int, default=2_000_000, help="readings in the topic (default 2,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count, after one to warm up (default 3)")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another checkout, for the subject `versions`")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="where results go (default bench.json)")
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.subjects) - {*SUBJECTS, VERSIONS}):
        parser.error(f"no such subject: {', '.join(unknown)}; choose from {', '.join((*SUBJECTS, VERSIONS))}")
    if (asked.beside is None) == (VERSIONS in asked.subjects):
        parser.error("`versions` and `--beside CHECKOUT` go together")
    if asked.readings < 400_000 and {"telemetry", VERSIONS} & set(asked.subjects or SUBJECTS):
        parser.error("--readings must be at least 400,000: fewer cover too little time for a window to close")
    return asked


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one subject after the other; what is done is on disk even if a later one fails."""
    asked = _asked(arguments)
    console = Console(stderr=True)
    results: dict[str, Any] = {"machine": facts(), "asked": {"readings": asked.readings, "rounds": asked.rounds}}
    results["rounds"] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    for name in asked.subjects or SUBJECTS:
        with (
            tempfile.TemporaryDirectory(prefix="vitalwire-bench-") as directory,
            Progress(*columns, console=console) as bars,
        ):
            plan = Plan(asked.readings, asked.rounds, Path(directory), bars, asked.beside and asked.beside.resolve())
            found = importlib.import_module(f"tests.bench.{name}").measure(plan)
        results |= found.results
        results["rounds"][name] = found.rounds
        asked.out.write_text(json.dumps(results, indent=2) + "\n")
    Console().print(table(results))
    console.print(f"Every number, round by round: {asked.out}")


if __name__ == "__main__":
    main()
