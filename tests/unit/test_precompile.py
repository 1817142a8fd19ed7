"""After the loops were compiled nothing is left to be compiled, whatever comes and in whichever form."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from collections import namedtuple
from streams.runtime.columns import FetchedRecords
import sys
from numba.core.registry import CPUDispatcher
from streams.telemetry.kernel.precompile import compile_loops

def signatures():
    kernel = [module for name, module in sys.modules.items() if name.startswith("streams.telemetry.kernel.")]
    loops = [value for module in kernel for value in vars(module).values() if isinstance(value, CPUDispatcher)]
    return {loop.__name__: len(loop.signatures) for loop in loops}

compile_loops()
before = signatures()
assert before["admit"] == before["parse"] == before["close"] == before["reassign_open_rows"] == 1

from array import array
from streams.telemetry.kernel import eviction
eviction.MAX_UNUSED_NAMES = 10
from tests.property.kernel_logs import BASE_MS, KEY, TABLE, measured, paired, pairings
from schemas.progress import PartitionProgress
from streams.telemetry.kernel.partition import PartitionKernel

Fetched = namedtuple("Fetched", "offset timestamp key value headers")
log = [measured(i, BASE_MS + i * 700 % 90_000, f"d{i % 700}", value=60 + i % 3) for i in range(4000)]
log += [r._replace(offset=4000 + i, value=v) for i, (r, v) in enumerate(zip(log, [b"", None, b"[", b'{"readings":[]}']))]
log += [measured(4004, BASE_MS)._replace(value=log[0].value[:-1] + b',"patient_id":"p0"}')]
fetched = FetchedRecords([Fetched(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in log])
for records in (log, log[:1], log[-2:], fetched):
    for silent_ms in (None, BASE_MS + 10**9):
        kernel = PartitionKernel("t", 0, TABLE, KEY)
        kernel.restore([], PartitionProgress(
            partition=0, position=5, settled=2, open_readings=1, arrival_ms=BASE_MS, settled_arrival_ms=BASE_MS))
        kernel.restore_quarantined(array("q", [1, 0]))
        kernel.ingest(records, {}, 1)
        kernel.ingest(records, pairings(), 2)
        kernel.learn(pairings() | {("north", "d0"): paired("d0", ("p9", 0, 20))}, 3)
        while kernel.close(silent_ms).more:
            pass
        kernel.skip_to(9000)
        kernel.close(silent_ms)
assert signatures() == before, {k: (v, before[k]) for k, v in signatures().items() if v != before[k]}
"""


def test_after_the_loops_were_compiled_no_log_makes_the_kernel_compile_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
