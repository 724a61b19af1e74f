"""TUAB: clinical EEG, normal and abnormal."""
