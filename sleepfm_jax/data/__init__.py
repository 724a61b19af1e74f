"""Stored records and batches of them: clips, datasets, people, examples, stream. Without jax."""
