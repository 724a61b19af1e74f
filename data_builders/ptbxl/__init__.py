"""PTB-XL: clinical 12-lead ECGs."""
