"""DREAMS."""
