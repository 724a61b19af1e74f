"""Sleep staging of whole nights."""
