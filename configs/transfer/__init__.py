"""The transfer paper's tasks (arXiv 2605.02500), one file each: a row of its table."""
