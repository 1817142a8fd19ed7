"""Site templates (FPML): compiled once, rendered fast."""
