"""The front door: settings, the composition of each role, the command line, and the demo."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vitalwire")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.0.0"
