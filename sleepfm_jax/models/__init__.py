"""Layers and networks. They know arrays and masks; not devices, datasets or configs."""
