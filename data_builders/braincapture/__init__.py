"""A folder of wake EEG in EDF and a table of labels, as BrainCapture has them."""
