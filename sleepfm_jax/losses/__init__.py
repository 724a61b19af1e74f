"""Losses as pure functions of arrays and masks."""
