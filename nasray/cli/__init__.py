"""The command line."""

from nasray.cli.verbs import main

__all__ = ["main"]
