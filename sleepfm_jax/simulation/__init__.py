"""Simulated people, cohorts and archives. Nothing outside imports its insides."""
