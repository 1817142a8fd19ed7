"""What happens to readings on their way to the chart: pure kernel, thin Faust agents, verdicts, delivery."""
