"""Test doubles of external systems for the demo and for tests: brokers, servers, a sandbox EHR, a simulated ward."""
