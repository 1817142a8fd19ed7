"""The window kernel: pure, row by row, in log order. No I/O, no clock, no randomness, no logging.

    bytes ─► decode ─► admit (units, range, clock, pairing, lateness) ─► open rows ─► close ─► windows

The entry point is `partition.PartitionKernel`. `docs/adr/0004` says why these are compiled loops and not data frames.
"""
