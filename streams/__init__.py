"""From readings to the chart: the window kernel, thin Faust agents, intents, delivery, reconciliation."""
