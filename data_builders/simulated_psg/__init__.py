"""Simulated polysomnography."""
