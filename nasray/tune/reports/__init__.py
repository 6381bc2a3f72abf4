"""Where the progress of trials is reported: the terminal, the log, Prometheus, trackers."""
