"""Labels of parts of a recording, and the clips that they are for."""
