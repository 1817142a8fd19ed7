"""What a check finds wrong in a rendered resource."""

from __future__ import annotations

from typing import NamedTuple


class ElementFinding(NamedTuple):
    """One wrong element: its path in the resource, what is wrong, and what to do. Never holds a value."""

    path: str
    message: str
    remedy: str
