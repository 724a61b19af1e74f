"""CODE-15 %: 12-lead ECGs of a Brazilian telehealth network."""
