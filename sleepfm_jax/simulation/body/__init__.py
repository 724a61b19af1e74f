"""Simulated physiology: hidden states in, signals of each sensor out."""
