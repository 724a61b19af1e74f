"""Sleep stages from subsets of signals, on a report's page: what is stored, published, drawn."""
