"""The runtime of batch roles: the Faust transport, record batches, retries, the outbox."""
