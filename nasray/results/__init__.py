"""What a run gives: its tables, its front, and the networks that it trained. Torch is imported for a network alone."""

from nasray.results.run import Run, export, open, report

__all__ = ["Run", "export", "open", "report"]
