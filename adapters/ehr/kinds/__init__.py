"""EHRs whose requests differ from FHIR R4: one file each, named after the kind, with its class as `ENDPOINT`."""
