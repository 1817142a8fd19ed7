"""The front door: settings, the one composition root, the command line, the demo and its simulated ward."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vitalwire")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.0.0"
