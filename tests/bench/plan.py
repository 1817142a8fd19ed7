"""What every subject is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import Progress

from tests.bench.arithmetic import Run

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure, where to keep files meanwhile, and the progress bars to move."""

    readings: int
    rounds: int
    directory: Path
    bars: Progress
    beside: Path | None = None
    """Another checkout of the product, to be measured in turn with this one."""

    def each(self, what: str, items: Sequence[T], name: Callable[[T], str] = str) -> Iterator[T]:
        """Items one by one under a progress bar of their own."""
        bar = self.bars.add_task(what, total=len(items))
        for item in items:
            self.bars.update(bar, description=f"{what}: {name(item)}")
            yield item
            self.bars.advance(bar)
        self.bars.update(bar, description=what)


@dataclass(slots=True)
class BenchResult:
    """What a subject found: `results` go to bench.json as they are, `rounds` are the raw numbers under the subject's name."""

    results: dict[str, Any]
    rounds: list[dict[str, Any]] = field(default_factory=list)


def raw(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Runs as bench.json keeps them."""
    return [asdict(run) | {"per_s": run.per_s, "per_cpu_s": run.per_cpu_s} for run in runs]
