"""Results → tables, figures and one page."""
