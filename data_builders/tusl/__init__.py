"""TUSL: clinical EEG with slowing, seizures and complex background."""
