"""Ready search spaces and sweeps, found by nasray through entry points as a user's own package is."""
