"""Hypnograms in the dialects that scorers and archives write."""
