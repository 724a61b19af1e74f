"""Sleep-EDF Expanded."""
