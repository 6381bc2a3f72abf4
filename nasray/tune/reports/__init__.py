"""Who is told of trials as they go on: the terminal, the log, Prometheus, trackers."""
