"""Every kind of result, by resource type. A new kind is one line here. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mappings.observation.kind import OBSERVATION
from mappings.result_kind import AnyResultKind

RESULT_KINDS: Mapping[str, AnyResultKind] = {OBSERVATION.resource_type: OBSERVATION}
