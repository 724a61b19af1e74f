"""A builder's plan → work units → shards → an ordinary TFDS dataset."""
