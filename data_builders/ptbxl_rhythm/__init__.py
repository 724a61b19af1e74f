"""PTB-XL with rhythm and conduction labels."""
