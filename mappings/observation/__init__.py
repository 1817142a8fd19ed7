"""Vital signs as FHIR Observations: rendered, checked against their source and US Core, searched for and compared."""
