"""The clinical role: windows to intents in the ledger."""
