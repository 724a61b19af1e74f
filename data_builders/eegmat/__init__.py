"""EEGMAT: EEG of rest and of mental arithmetic."""
