"""What the builders of one kind of archive share."""
