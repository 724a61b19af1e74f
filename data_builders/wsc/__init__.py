"""Wisconsin Sleep Cohort (WSC)."""
