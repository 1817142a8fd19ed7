"""Each role's composition: only here do streams meet adapters."""
