"""Data on the device, splits, schedules, loops and checkpoints: plain torch."""
