"""``nasray report``: runs as one page."""

from __future__ import annotations

from dataclasses import dataclass

from nasray.cli.arguments import leading, parse
from nasray.cli.found import find_run
from nasray.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class _Reporting:
    out: str | None = None
    """File to write; None is report.html in the first run's folder."""
    code: tuple[str, ...] = ()
    """Files of a user's own search spaces, for what their operations cost."""


def report(arguments: list[str]) -> int:
    """RUN [RUN ...] [--out FILE] [--code FILE]: one HTML page of them that needs no network"""
    from nasray.results import report as write_report

    names, rest = leading(arguments)
    if not names:
        raise InvalidInput("RUN missing: expected folders of runs, as in nasray report runs/digits")
    typed = parse(_Reporting, rest, "nasray report", default=_Reporting())
    print(write_report(*(str(find_run(name)) for name in names), out=typed.out, code=typed.code))
    return 0
