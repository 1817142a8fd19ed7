"""EHRs that are asked in another way than FHIR R4 says: one file each, named after the kind, with its class as `ENDPOINT`."""
