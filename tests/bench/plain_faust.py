"""Faust as it comes, as a process of its own: `python -m tests.bench.plain_faust BOOTSTRAP TOPIC READINGS FILE`.

An agent takes event after event, parsed by Faust's own JSON codec, and counts them in a dictionary by device, type and
minute. No pairing, no check, no statistics, nothing produced, no table: less than any real program must do.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import faust

from tests.bench.measured import Stopwatch


def make_app(bootstrap_servers: str, topic: str, watch: Stopwatch) -> Any:
    """The app; only what would start other services is switched off."""
    app = faust.App(
        "plain-faust", broker=f"kafka://{bootstrap_servers}", store="memory://", web_enabled=False,
        topic_allow_declare=False, topic_disable_leader=True, consumer_auto_offset_reset="earliest",
    )  # fmt: skip
    counts: defaultdict[tuple[str, str, int], int] = defaultdict(int)

    async def count(readings: Any) -> None:
        async for reading in readings:
            watch.taking()
            counts[reading["device_id"], reading["type"], reading["time"] // 60_000] += 1
            watch.taken(1)

    app.agent(app.topic(topic, value_serializer="json", key_serializer="raw"), name="count")(count)
    return app


async def main(bootstrap_servers: str, topic: str, readings: int, file: Path) -> None:
    """Count until killed."""
    app = make_app(bootstrap_servers, topic, Stopwatch(readings, file))
    await app.start()
    await app.wait_until_stopped()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
