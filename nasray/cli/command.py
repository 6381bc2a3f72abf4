"""The command line's door: understands which verb is meant, and makes every error one line and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence

import nasray
from nasray import registry
from nasray.cli.all_verbs import GROUPS, VERBS
from nasray.cli.completion import script
from nasray.cli.parser import HelpShown
from nasray.cli.signals import ends_on_signals
from nasray.cli.verb import unknown_verb
from nasray.errors import ClusterLost, InvalidInput, LeaseLost, NonFiniteLoss, StorageFailure, printable

TRACEBACK = "NASRAY_TRACEBACK"
"""In the environment: whether a failure of a user's own code is shown with all that led to it."""
LOADING_SECONDS = 0.5
"""After which a command says that it loads."""
_OPTIONS = {
    "--version": "Print the version.",
    "--print-completion SHELL": "Print a script that completes commands in bash or zsh.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code.

    0; 1 if something failed on the way, 2 if it could not be understood, 130 if Ctrl-C and 143 if SIGTERM ended it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except (ClusterLost, InvalidInput, LeaseLost, NonFiniteLoss, StorageFailure) as error:
        if os.environ.get(TRACEBACK) and isinstance(error.__cause__, Exception):
            raise error.__cause__  # noqa: B904 - what a user's own code raised, as it was raised
        print(f"nasray: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InvalidInput) else 1
    except HelpShown:
        return 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `nasray list | head`
        _close_output()
        return 1
    except Exception as error:
        said = registry.own_failure(error)
        if said is None and isinstance(error, OSError):
            said = f"{error.strerror or error}{'' if error.filename is None else f': {error.filename}'}"
        if said is None or os.environ.get(TRACEBACK):  # a fault of ours
            raise
        if isinstance(error, OSError):
            _close_output()  # it may be what is full
        print(f"nasray: {said}", file=sys.stderr)
        return 1


def _close_output() -> None:
    """So that Python's last flush cannot fail again."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _run(arguments: list[str]) -> int:
    _absolute_environment()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if arguments[0] == "--version":
        print(f"nasray {nasray.__version__}")
        return 0
    if arguments[0] == "--print-completion":
        print(script(arguments[1:]))
        return 0
    verb = VERBS.get(arguments[0])
    if verb is None:
        raise unknown_verb(arguments[0], [*VERBS, *_OPTIONS])
    if not verb.resumable:
        return verb.called(arguments[1:])
    with ends_on_signals(), _said_to_load(arguments):
        return verb.called(arguments[1:])


@contextlib.contextmanager
def _said_to_load(arguments: Sequence[str]) -> Iterator[None]:
    """Within it a line says what is waited for, where torch is yet to be imported: not what is refused before that."""
    said = f"nasray {' '.join(map(printable, arguments[:2]))}: loading torch and the data (some seconds) ..."
    timer = threading.Timer(LOADING_SECONDS, print, [said], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    if "torch" not in sys.modules and not {"--quiet", "-h", "--help"} & set(arguments):
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _absolute_environment() -> None:
    """A relative folder in the environment means this process's folder, in workers too."""
    if "NASRAY_DATA" in os.environ:
        os.environ["NASRAY_DATA"] = registry.absolute_path(os.environ["NASRAY_DATA"]) or ""


def _usage() -> str:
    lines = ["nasray searches neural architectures, and gives a Pareto front of accuracy against multiply-adds."]
    for group, verbs in GROUPS.items():
        lines += ["", f"{group}:"]
        for verb in verbs:
            lines += [f"  nasray {verb.name} {verb.words}", f"      {verb.summary}"]
    lines += ["", "options:"]
    lines += [f"  nasray {name:26} {text}" for name, text in _OPTIONS.items()]
    return "\n".join([*lines, "", "nasray VERB --help tells more; nasray sweep digits --help all that a sweep takes."])
