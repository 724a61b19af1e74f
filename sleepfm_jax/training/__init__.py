"""What the loop stands on: state, step, optimiser, placement, checkpoints."""
