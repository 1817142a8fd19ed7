"""A patient's consent, pure: a FHIR R4 Consent as the permissions and denials that Vitalwire evaluates. Fails closed."""
