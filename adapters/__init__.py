"""Adapters to external systems (Kafka, the ledger's database, EHRs, metrics), behind the ports of `schemas.ports`."""
