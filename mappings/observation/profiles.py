"""The US Core vital-sign profiles as data, read once from `us_core.yaml`.

Source: US Core 9.0.0 vital-sign profiles; HL7 CGM 1.0.0 for glucose.
"""

from __future__ import annotations

from importlib.resources import files
from types import MappingProxyType

import yaml
from pydantic import BaseModel, ConfigDict

_ROW = ConfigDict(frozen=True, extra="forbid")


class Profile(BaseModel):
    """The rules for one vital: required LOINC codes, permitted UCUM units, and components by LOINC code."""

    model_config = _ROW

    name: str
    codes: tuple[str, ...]
    units: tuple[str, ...] = ()
    required: dict[str, tuple[str, ...]] = {}
    optional: dict[str, tuple[str, ...]] = {}


class Rules(BaseModel):
    """What every vital sign must satisfy, and the profile of each vital."""

    model_config = _ROW

    source: str
    category_system: str
    category_code: str
    statuses: frozenset[str]
    ucum: str
    profiles: tuple[Profile, ...]


RULES = Rules.model_validate(yaml.safe_load(files(__package__).joinpath("us_core.yaml").read_text(encoding="utf-8")))
PROFILE_BY_CODE = MappingProxyType({code: profile for profile in RULES.profiles for code in profile.codes})
