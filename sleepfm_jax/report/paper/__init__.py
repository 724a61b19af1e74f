"""The transfer paper's figures and table (arXiv 2605.02500), from a run's files."""
