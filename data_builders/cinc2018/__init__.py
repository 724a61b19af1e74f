"""PhysioNet/CinC Challenge 2018."""
