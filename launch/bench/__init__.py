"""Side-by-side benchmarks: python -m launch.bench.NAME."""
