"""The composition of each role: the only place that combines streams and adapters."""
