"""What the core asks of the outside world, as Protocols. Adapters implement them; only `vitalwire/` joins the two."""
