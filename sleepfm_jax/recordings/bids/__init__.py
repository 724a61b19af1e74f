"""What the tables of a BIDS folder say about a recording."""
