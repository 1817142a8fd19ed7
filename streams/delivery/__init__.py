"""The delivery role: intents to the EHR, and the verdict on every response."""
