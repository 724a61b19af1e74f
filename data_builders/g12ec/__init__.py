"""G12EC: 12-lead ECGs from Georgia."""
