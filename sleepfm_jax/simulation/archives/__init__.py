"""Simulated archives: real layouts, names, units, dialects and faults."""
