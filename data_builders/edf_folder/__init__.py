"""Any folder of EDF or BDF recordings."""
