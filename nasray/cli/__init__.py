"""The command line."""

from nasray.cli.command import main

__all__ = ["main"]
