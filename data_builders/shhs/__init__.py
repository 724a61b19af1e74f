"""Sleep Heart Health Study (SHHS)."""
