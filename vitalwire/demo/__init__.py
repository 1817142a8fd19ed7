"""`vitalwire demo`: the whole main job on embedded parts, watched live and checked against what the EHR holds."""
