"""Simulated 12-lead ECG with labels."""
