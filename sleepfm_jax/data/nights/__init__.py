"""Whole nights from stored clips or from a recording: layout, normalisation, rows, streams."""
