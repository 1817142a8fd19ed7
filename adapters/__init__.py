"""The outside world, one external system per file, behind the ports of `schemas.ports`."""
