"""Childhood Adenotonsillectomy Trial (CHAT)."""
