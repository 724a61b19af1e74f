"""CHB-MIT: long-term EEG of children with epilepsy."""
