"""A staged night as files that other programs read: CSV, EDF+, BIDS, statistics, plot, page."""
