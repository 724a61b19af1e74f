"""Cleveland Family Study (CFS)."""
