"""A FHIR R4 Consent as what Vitalwire may do with a patient's data. Fails closed.

A Consent that cannot be evaluated as a whole becomes one that permits nothing, and so replaces an older one. The period of
its root becomes `from` and `until`.
Source: https://hl7.org/fhir/R4/consent.html.
"""

from __future__ import annotations

from datetime import datetime

from mappings.consent import period
from mappings.consent.elements import PROVISION_ELEMENTS, NotUnderstood, allow_only, codes_of, required_objects
from mappings.consent.provisions import permits_and_denies
from mappings.fhir_json import JsonObject, JsonValue, Resource, member
from schemas.reference import Consent

_ELEMENTS = frozenset(
    {"resourceType", "id", "meta", "text", "identifier", "status", "scope", "category", "patient"}
) | {
    *("dateTime", "performer", "organization", "sourceAttachment", "sourceReference", "policy", "policyRule"),
    *("verification", "provision", "extension", "language"),
}
_PERIOD_ELEMENTS = frozenset({"start", "end", "id", "extension"})
_SCOPES = "http://terminology.hl7.org/CodeSystem/consentscope"
_POLICIES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def consent_from_fhir(resource: Resource, tenant_id: str, patient_id: str) -> Consent:
    """What the Consent permits. Never raises: `status` names the element that was not understood, and nothing is permitted."""
    try:
        return _consent(resource, tenant_id, patient_id)
    except NotUnderstood as element:
        return Consent(tenant_id=tenant_id, patient_id=patient_id, status=f"not understood: {element}")


def _consent(resource: Resource, tenant_id: str, patient_id: str) -> Consent:
    _check(resource, patient_id)
    root = resource.get("provision")
    if not isinstance(root, dict):
        raise NotUnderstood("provision")
    allow_only(root, PROVISION_ELEMENTS)
    since, until = _period(root.get("period"))
    permits, denies = permits_and_denies(root, _baseline(resource, root))
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


def _check(resource: Resource, patient_id: str) -> None:
    allow_only(resource, _ELEMENTS)
    if resource.get("resourceType") != "Consent":
        raise NotUnderstood("resourceType")
    if not _is_patient(resource.get("patient"), patient_id):
        raise NotUnderstood("patient")
    if "patient-privacy" not in codes_of(resource.get("scope"), _SCOPES):
        raise NotUnderstood("scope")
    if any(item.get("verified") is not True for item in required_objects(resource, "verification")):
        raise NotUnderstood("verification")


def _baseline(resource: Resource, root: JsonObject) -> str:
    """What applies where no nested provision says otherwise: the root's type, or the policy's opt-in."""
    policy = codes_of(resource.get("policyRule"), _POLICIES)
    base = root.get("type", "permit" if policy == ["OPTIN"] else "deny")
    if base not in ("permit", "deny"):
        raise NotUnderstood("provision.type")
    if base == "permit" and "OPTOUT" in policy:
        raise NotUnderstood("policyRule")
    return str(base)


def _period(value: JsonValue) -> tuple[datetime | None, datetime | None]:
    """From and until, interpreted as the shortest possible period."""
    if value is None:
        return None, None
    if not isinstance(value, dict) or not value.keys() <= _PERIOD_ELEMENTS:
        raise NotUnderstood("provision.period")
    try:
        return (
            period.since(value["start"]) if "start" in value else None,
            period.until(value["end"]) if "end" in value else None,
        )
    except ValueError:
        raise NotUnderstood("provision.period") from None


def _is_patient(patient: JsonValue, patient_id: str) -> bool:
    if not isinstance(patient, dict):
        return False
    reference = str(patient.get("reference", ""))
    if reference:
        return reference.rpartition("Patient/")[2] == patient_id
    return member(patient.get("identifier"), "value") == patient_id
