"""A simulated hospital ward: real recordings replayed as devices would send them, with labelled troubles.

It exists for the demo and for tests. It is no part of the product's path from Kafka to the chart.
"""
