"""Errors that a person can act on."""


class InvalidInput(ValueError):
    """Something that was given cannot be used.

    The message is one line: what was given, and what would be accepted. The command line prints it and exits
    with 2.
    """


class NonFiniteLoss(ArithmeticError):
    """A loss became infinite or not a number: the search or evaluation ends, and gives no row."""
