"""Simulated wake EEG with a label."""
