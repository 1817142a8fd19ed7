"""What every batch role runs on: the Faust transport, record batches, retries, the outbox."""
