"""The telemetry role: readings to windows."""
