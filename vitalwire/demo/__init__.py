"""`vitalwire demo`: the whole pipeline on this machine, displayed live and compared with the contents of the EHR."""
