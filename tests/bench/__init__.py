"""Benchmarks: `make bench`. What each measures, and how, is in docs/benchmarks.md."""
