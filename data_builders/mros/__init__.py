"""MrOS Sleep."""
