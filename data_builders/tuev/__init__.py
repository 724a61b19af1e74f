"""TUEV: clinical EEG with labelled events of six classes."""
