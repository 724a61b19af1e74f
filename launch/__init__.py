"""The programs people run, from a checkout: python -m launch.NAME --help."""
