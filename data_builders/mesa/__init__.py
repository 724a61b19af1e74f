"""MESA Sleep."""
