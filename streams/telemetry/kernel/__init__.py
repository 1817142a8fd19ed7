"""The window kernel: pure, row by row, in the order of the log. No I/O, no clock, no randomness, no logging.

    bytes ─► decode ─► admit (units, range, clock, pairing, lateness) ─► open rows ─► close ─► windows

`partition.PartitionKernel` is the way in. `docs/adr/0004` says why these are compiled loops and not data frames.
"""
