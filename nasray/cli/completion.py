"""Completion in bash and zsh: scripts that shtab writes from the parsers of all verbs."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

from nasray import registry
from nasray.cli.option import Option
from nasray.cli.values import choices, takes_several
from nasray.errors import InvalidInput

SHELLS = ("bash", "zsh")


def script(shells: Sequence[str]) -> str:
    """The script of a shell.

    Raises:
        InvalidInput: not one of the shells.
    """
    if len(shells) != 1 or shells[0] not in SHELLS:
        given = " ".join(["--print-completion", *shells])
        raise InvalidInput(f"{given:.60}: expected bash or zsh after it")
    import shtab

    return str(shtab.complete(_parser(), shell=shells[0]))


def _parser() -> argparse.ArgumentParser:
    """All verbs as subcommands of one parser; behind sweep and search what is registered, each with its options."""
    from nasray.cli.all_verbs import VERBS

    root = argparse.ArgumentParser(prog="nasray", add_help=False)
    root.add_argument("--help", action="store_true", help="Show the help")
    root.add_argument("--version", action="store_true", help="Print the version")
    root.add_argument("--print-completion", choices=SHELLS, help="Print a script of completion")
    verbs = root.add_subparsers()
    for name, verb in VERBS.items():
        one = verbs.add_parser(name, help=verb.summary, add_help=False)
        if verb.first_decides and verb.first_words():
            seconds = one.add_subparsers()
            for word in verb.first_words():
                second = seconds.add_parser(word, help=f"{verb.name} {word}", add_help=False)
                with contextlib.suppress(InvalidInput):  # somebody's package may be broken: the others complete
                    _add(second, verb.all_options(word))
        else:
            _add(one, verb.all_options(), verb.first_words())
    return root


def _add(parser: argparse.ArgumentParser, options: Sequence[Option], first: Sequence[str] = ()) -> None:
    import shtab

    for one in options:
        text = one.help.replace("%", "%%")
        if one.word:
            known = _KNOWN.get(one.word)
            words = list(first) or (registry.names(known) if known else choices(one))
            nargs = "*" if takes_several(one) else None
            added = parser.add_argument(one.name, help=text, nargs=nargs, choices=words or None)
            if not words and one.word in ("RUN", "DIR"):
                added.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            first = ()
        elif one.is_flag:
            parser.add_argument(one.flag, f"--no-{one.flag[2:]}", action="store_true", help=text)
        else:
            words = registry.names("dataset") if one.name == "dataset" else choices(one)
            flags = [one.flag, *(f"--{other}" for other in one.also)]
            nargs = "*" if takes_several(one) else None
            added = parser.add_argument(*flags, dest=one.name, nargs=nargs, help=text, choices=words or None)
            if one.unit in ("FILE", "DIR"):
                added.complete = shtab.FILE if one.unit == "FILE" else shtab.DIRECTORY  # type: ignore[attr-defined]
    parser.add_argument("--help", action="store_true", help="Show the help")
    parser.add_argument("--help-all", action="store_true", help="Show the whole help")


_KNOWN = {"SPACE": "space", "METHOD": "method", "DATASET": "dataset", "SWEEP": "sweep"}
