"""What stands in for the outside world in the demo and in tests: brokers, servers, a sandbox EHR, a simulated ward."""
