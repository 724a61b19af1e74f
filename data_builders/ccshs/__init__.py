"""Cleveland Children's Sleep and Health Study (CCSHS)."""
