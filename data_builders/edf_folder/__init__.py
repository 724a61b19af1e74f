"""Any folder of recordings: with a table, in BIDS, or as it is."""
