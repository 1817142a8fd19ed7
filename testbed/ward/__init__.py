"""A simulated hospital ward: real recordings replayed as devices would send them, with labelled anomalies.

For the demo and for tests only.
"""
