"""The published models once more, in PyTorch, to hold ours against."""
