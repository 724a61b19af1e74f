"""One module a file format; `recordings.read` chooses among them."""
