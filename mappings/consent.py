"""A FHIR R4 Consent as what Vitalwire may do with a patient's data. Fails closed.

What is not understood never permits: a permission with an element we cannot judge is dropped, a denial with one covers
everything. A Consent that cannot be judged as a whole becomes one that permits nothing, and so replaces an older one.

    Consent.provision.class   resource types: Observation → vitals, DocumentReference → documents, others → patient-info
    Consent.provision.code    LOINC codes → vitals
    Consent.provision.actor   identifier with system urn:vitalwire:endpoint → endpoints
    Consent.provision.purpose v3-ActReason: ours is TREAT
    Consent.provision.period  of the root: from and until
Source: https://hl7.org/fhir/R4/consent.html; nested provisions are exceptions to the one they stand in.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

from mappings import consent_period
from schemas.commands import ResourceName
from schemas.reference import Consent, Provision, Purpose
from schemas.vitals import BUILT_IN, LOINC, PANEL_CODES, PANELS

ENDPOINT_SYSTEM = "urn:vitalwire:endpoint"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"

_ALL_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
_ELEMENTS = frozenset(
    {"resourceType", "id", "meta", "text", "identifier", "status", "scope", "category", "patient"}
) | {
    *("dateTime", "performer", "organization", "sourceAttachment", "sourceReference", "policy", "policyRule"),
    *("verification", "provision", "extension", "language"),
}
_PROVISION_ELEMENTS = frozenset({"id", "extension", "type", "period", "class", "code", "actor", "purpose", "provision"})
_OTHER_PURPOSES = frozenset({"HMARKT", "HRESCH", "HPAYMT", "HOPERAT"})
_PURPOSE_OF_CLASS: dict[str, Purpose] = {
    **dict.fromkeys(get_args(ResourceName), "patient-info"),
    "Observation": "vitals",
    "DocumentReference": "documents",
}


class _NotUnderstood(Exception):
    """An element that cannot be judged; its name only."""


def consent_from_fhir(resource: Mapping[str, Any], tenant_id: str, patient_id: str) -> Consent:
    """What the Consent permits. Never raises: `status` says which element was not understood, and nothing is permitted."""
    try:
        return _consent(resource, tenant_id, patient_id)
    except _NotUnderstood as element:
        return Consent(tenant_id=tenant_id, patient_id=patient_id, status=f"not understood: {element}")


def _consent(resource: Mapping[str, Any], tenant_id: str, patient_id: str) -> Consent:
    _only(resource, _ELEMENTS)
    if resource.get("resourceType") != "Consent":
        raise _NotUnderstood("resourceType")
    if not _is_patient(resource.get("patient"), patient_id):
        raise _NotUnderstood("patient")
    if "patient-privacy" not in _codes(resource.get("scope"), "http://terminology.hl7.org/CodeSystem/consentscope"):
        raise _NotUnderstood("scope")
    if any(item.get("verified") is not True for item in _objects(resource, "verification")):
        raise _NotUnderstood("verification")
    root = resource.get("provision")
    if not isinstance(root, dict):
        raise _NotUnderstood("provision")
    _only(root, _PROVISION_ELEMENTS)
    since, until = _period(root.get("period"))
    permits, denies = _provisions(root, _base(resource, root))
    return Consent.model_validate(
        {
            "tenant_id": tenant_id,
            "patient_id": patient_id,
            "status": str(resource.get("status")),
            "from": since,
            "until": until,
            "permits": permits,
            "denies": denies,
        }
    )


def _base(resource: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """What holds where no nested provision says otherwise: the root's type, or the policy's opt-in."""
    policy = _codes(resource.get("policyRule"), "http://terminology.hl7.org/CodeSystem/v3-ActCode")
    kind = root.get("type", "permit" if policy == ["OPTIN"] else "deny")
    if kind not in ("permit", "deny"):
        raise _NotUnderstood("provision.type")
    if kind == "permit" and "OPTOUT" in policy:
        raise _NotUnderstood("policyRule")
    return str(kind)


def _provisions(root: Mapping[str, Any], base: str) -> tuple[list[Provision], list[Provision]]:
    if base == "deny" and not root.keys().isdisjoint({"class", "code", "actor", "purpose"}):
        raise _NotUnderstood("provision")  # its exceptions hold under its conditions only
    permits = _permission(root, is_root=True) if base == "permit" else []
    denies: list[Provision] = []
    for nested in _nested(root):
        if nested.get("type") != "permit":
            denies += _denial(nested)  # and no permission inside it counts: a denial outranks
            continue
        if base == "deny":
            permits += _permission(nested)
        denies += [denied for inner in _nested(nested) for denied in _denial(inner)]
    return permits, denies


def _permission(provision: Mapping[str, Any], *, is_root: bool = False) -> list[Provision]:
    """What is permitted: nothing, where an element narrows it in a way that is not understood."""
    try:
        _only(provision, _PROVISION_ELEMENTS if is_root else _PROVISION_ELEMENTS - {"period"})
        return _covered(provision, widen=False)
    except _NotUnderstood:
        return []


def _denial(provision: Mapping[str, Any]) -> list[Provision]:
    """What is denied: everything, where an element is not understood. A period does not narrow it."""
    try:
        _only(provision, _PROVISION_ELEMENTS)
        _must_deny(provision)
        return _covered(provision, widen=True)
    except _NotUnderstood:
        return [Provision(purpose=purpose) for purpose in _ALL_PURPOSES]


def _must_deny(provision: Mapping[str, Any]) -> None:
    if provision.get("type") != "deny":
        raise _NotUnderstood("type")


def _covered(provision: Mapping[str, Any], *, widen: bool) -> list[Provision]:
    if not _is_for_treatment(provision, if_unknown=widen):
        return []
    endpoints = _endpoints(provision)
    return [
        Provision(purpose=purpose, types=types, endpoints=endpoints)
        for purpose, types in _purposes(provision, widen=widen).items()
    ]


def _is_for_treatment(provision: Mapping[str, Any], *, if_unknown: bool) -> bool:
    if "purpose" not in provision:
        return True
    purposes = {(str(item.get("system")), str(item.get("code"))) for item in _objects(provision, "purpose")}
    if (ACT_REASON, "TREAT") in purposes:
        return True
    known = {(ACT_REASON, code) for code in _OTHER_PURPOSES}
    return if_unknown and not (purposes and purposes <= known)


def _purposes(provision: Mapping[str, Any], *, widen: bool) -> dict[Purpose, list[str]]:
    """Purpose → what of it: vitals by type, patient information by resource, documents all."""
    vitals = _vital_types(provision, widen=widen)
    if "class" not in provision:
        return {"vitals": vitals} if "code" in provision else {purpose: ["*"] for purpose in _ALL_PURPOSES}
    found: dict[Purpose, list[str]] = {}
    for item in _objects(provision, "class"):
        name = str(item.get("code"))
        purpose = _PURPOSE_OF_CLASS.get(name)
        if item.get("system") != RESOURCE_TYPES or purpose is None:
            raise _NotUnderstood("class")
        if purpose == "patient-info":
            found.setdefault(purpose, []).append(name)
        else:
            found[purpose] = vitals if purpose == "vitals" else ["*"]
    return found


def _vital_types(provision: Mapping[str, Any], *, widen: bool) -> list[str]:
    if "code" not in provision:
        return ["*"]
    types: list[str] = []
    for concept in _objects(provision, "code"):
        for code in _codes(concept, LOINC) or [""]:
            types += _types_of(code, widen=widen)
    return list(dict.fromkeys(types))


def _types_of(code: str, *, widen: bool) -> list[str]:
    """The vitals a LOINC code stands for. Denied, a member of a panel takes the panel with it."""
    for panel, panel_code in PANEL_CODES.items():
        if code == panel_code.code:
            return [panel, *PANELS[panel]]
    for name, vital in BUILT_IN.items():
        if any(code == known.code for known in vital.codes):
            return [name, vital.panel] if widen and vital.panel else [name]
    raise _NotUnderstood("code")


def _endpoints(provision: Mapping[str, Any]) -> list[str]:
    if "actor" not in provision:
        return ["*"]
    found: list[str] = []
    for actor in _objects(provision, "actor"):
        reference = actor.get("reference")
        identifier = reference.get("identifier") if isinstance(reference, dict) else None
        if (
            not isinstance(identifier, dict)
            or identifier.get("system") != ENDPOINT_SYSTEM
            or not identifier.get("value")
        ):
            raise _NotUnderstood("actor")
        found.append(str(identifier["value"]))
    return found


def _period(period: Any) -> tuple[datetime | None, datetime | None]:
    """From and until; they are taken at their shortest."""
    if period is None:
        return None, None
    if not isinstance(period, dict) or not period.keys() <= {"start", "end", "id", "extension"}:
        raise _NotUnderstood("provision.period")
    try:
        return (
            consent_period.since(period["start"]) if "start" in period else None,
            consent_period.until(period["end"]) if "end" in period else None,
        )
    except ValueError:
        raise _NotUnderstood("provision.period") from None


def _is_patient(patient: Any, patient_id: str) -> bool:
    if not isinstance(patient, dict):
        return False
    identifier = patient.get("identifier")
    named = identifier.get("value") if isinstance(identifier, dict) else None
    reference = str(patient.get("reference", ""))
    return reference.rpartition("Patient/")[2] == patient_id if reference else named == patient_id


def _only(element: Mapping[str, Any], understood: frozenset[str]) -> None:
    for name in element:
        if name not in understood:
            raise _NotUnderstood(name if name.isascii() and name.isalpha() and len(name) < 40 else "an element's name")


def _nested(provision: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _objects(provision, "provision")


def _objects(element: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    if name not in element:
        return []
    found = element[name]
    if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
        raise _NotUnderstood(name)
    return found


def _codes(concept: Any, system: str) -> list[str]:
    if not isinstance(concept, dict):
        return []
    return [str(coding.get("code")) for coding in _objects(concept, "coding") if coding.get("system") == system]
