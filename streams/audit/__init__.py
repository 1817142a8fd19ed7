"""The audit trail: hash-chained events, and their verification."""
