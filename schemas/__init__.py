"""What flows through Vitalwire, as models: readings, windows, operations, reference data, configuration, errors, ports."""
