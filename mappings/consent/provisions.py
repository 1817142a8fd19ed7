"""The provisions of a FHIR Consent as permissions and denials.

What is not understood never permits: a permission with an element that cannot be evaluated is dropped, a denial with one
covers everything. A denial outranks a permission.

    Consent.provision.class   resource types: Observation → vitals, DocumentReference → documents, others → patient-info
    Consent.provision.code    LOINC codes → vitals
    Consent.provision.actor   identifier with system urn:vitalwire:endpoint → endpoints
    Consent.provision.purpose v3-ActReason: ours is TREAT
Source: https://hl7.org/fhir/R4/consent.html; a nested provision is an exception to the one that contains it.
"""

from __future__ import annotations

from typing import get_args

from mappings.consent.elements import PROVISION_ELEMENTS, NotUnderstood, allow_only, codes_of, required_objects
from mappings.fhir_json import JsonObject, member
from schemas.commands import ResourceName
from schemas.reference import Provision, Purpose
from schemas.vitals import BUILT_IN, LOINC, PANEL_CODES, PANELS

ENDPOINT_SYSTEM = "urn:vitalwire:endpoint"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"

_ALL_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
_NARROWING = frozenset({"class", "code", "actor", "purpose"})
_OTHER_PURPOSES = frozenset((ACT_REASON, code) for code in ("HMARKT", "HRESCH", "HPAYMT", "HOPERAT"))
_PURPOSE_OF_CLASS: dict[str, Purpose] = {
    **dict.fromkeys(get_args(ResourceName), "patient-info"),
    "Observation": "vitals",
    "DocumentReference": "documents",
}


def permits_and_denies(root: JsonObject, base: str) -> tuple[list[Provision], list[Provision]]:
    """Every permission and denial of a Consent whose root permits or denies (`base`)."""
    if base == "deny" and not root.keys().isdisjoint(_NARROWING):
        raise NotUnderstood("provision")  # its exceptions would hold under these conditions only
    permits = _permission(root, is_root=True) if base == "permit" else []
    denies: list[Provision] = []
    for nested in _nested(root):
        if nested.get("type") != "permit":
            denies += _denial(nested)  # permissions nested in it are ignored, because a denial outranks them
            continue
        if base == "deny":
            permits += _permission(nested)
        denies += [denied for inner in _nested(nested) for denied in _denial(inner)]
    return permits, denies


def _nested(provision: JsonObject) -> list[JsonObject]:
    return required_objects(provision, "provision")


def _permission(provision: JsonObject, *, is_root: bool = False) -> list[Provision]:
    """What is permitted: nothing, if an element narrows it in a way that is not understood."""
    try:
        allow_only(provision, PROVISION_ELEMENTS if is_root else PROVISION_ELEMENTS - {"period"})
        return _covered(provision, widen=False)
    except NotUnderstood:
        return []


def _denial(provision: JsonObject) -> list[Provision]:
    """What is denied: everything, if an element is not understood. A period does not narrow a denial."""
    try:
        allow_only(provision, PROVISION_ELEMENTS)
        _must_deny(provision)
        return _covered(provision, widen=True)
    except NotUnderstood:
        return [Provision(purpose=purpose) for purpose in _ALL_PURPOSES]


def _must_deny(provision: JsonObject) -> None:
    if provision.get("type") != "deny":
        raise NotUnderstood("type")


def _covered(provision: JsonObject, *, widen: bool) -> list[Provision]:
    if not _is_for_treatment(provision, if_unknown=widen):
        return []
    endpoints = _endpoints(provision)
    return [
        Provision(purpose=purpose, types=types, endpoints=endpoints)
        for purpose, types in _purposes(provision, widen=widen).items()
    ]


def _is_for_treatment(provision: JsonObject, *, if_unknown: bool) -> bool:
    if "purpose" not in provision:
        return True
    purposes = {(str(item.get("system")), str(item.get("code"))) for item in required_objects(provision, "purpose")}
    if (ACT_REASON, "TREAT") in purposes:
        return True
    return if_unknown and not (purposes and purposes <= _OTHER_PURPOSES)


def _purposes(provision: JsonObject, *, widen: bool) -> dict[Purpose, list[str]]:
    """Purpose → its scope: vitals by type, patient information by resource, documents all."""
    vitals = _vital_types(provision, widen=widen)
    if "class" not in provision:
        return {"vitals": vitals} if "code" in provision else {purpose: ["*"] for purpose in _ALL_PURPOSES}
    found: dict[Purpose, list[str]] = {}
    for item in required_objects(provision, "class"):
        name, purpose = _class(item)
        if purpose == "patient-info":
            found.setdefault(purpose, []).append(name)
        else:
            found[purpose] = vitals if purpose == "vitals" else ["*"]
    return found


def _class(coding: JsonObject) -> tuple[str, Purpose]:
    """The resource type that `class` names, and the purpose that it belongs to."""
    name = str(coding.get("code"))
    purpose = _PURPOSE_OF_CLASS.get(name)
    if coding.get("system") != RESOURCE_TYPES or purpose is None:
        raise NotUnderstood("class")
    return name, purpose


def _vital_types(provision: JsonObject, *, widen: bool) -> list[str]:
    if "code" not in provision:
        return ["*"]
    types: list[str] = []
    for concept in required_objects(provision, "code"):
        for code in codes_of(concept, LOINC) or [""]:
            types += _types_of(code, widen=widen)
    return list(dict.fromkeys(types))


def _types_of(code: str, *, widen: bool) -> list[str]:
    """The vitals that a LOINC code identifies. The denial of one member of a panel denies the panel too."""
    for panel, panel_code in PANEL_CODES.items():
        if code == panel_code.code:
            return [panel, *PANELS[panel]]
    for name, vital in BUILT_IN.items():
        if any(code == known.code for known in vital.codes):
            return [name, vital.panel] if widen and vital.panel else [name]
    raise NotUnderstood("code")


def _endpoints(provision: JsonObject) -> list[str]:
    if "actor" not in provision:
        return ["*"]
    return [_endpoint(actor) for actor in required_objects(provision, "actor")]


def _endpoint(actor: JsonObject) -> str:
    identifier = member(actor.get("reference"), "identifier")
    value = member(identifier, "value")
    if member(identifier, "system") != ENDPOINT_SYSTEM or not value:
        raise NotUnderstood("actor")
    return str(value)
