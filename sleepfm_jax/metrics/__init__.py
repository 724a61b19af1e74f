"""Figures of predictions and embeddings, in NumPy alone."""
