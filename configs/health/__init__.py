"""Configurations of what a night says of health: a file each."""
