"""Clinical mappings, pure: units, window → FHIR Observation, US Core checks, consent, and the linter of configuration."""
