"""Stored records, and batches of them: clips, datasets, people, examples, the stream. No jax here."""
