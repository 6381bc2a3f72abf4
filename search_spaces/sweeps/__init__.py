"""One ready sweep a file, named for what it reproduces or shows."""
