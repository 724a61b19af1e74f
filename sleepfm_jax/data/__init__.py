"""From files to batches: recordings, stored records, the input pipeline. Never imports jax."""
