"""``nasray report``: runs as one page."""

from __future__ import annotations

from typing import Annotated

from nasray.cli.found import find_run
from nasray.cli.option import Says


def report(
    runs: Annotated[tuple[str, ...], Says(help="Folders or URIs of runs, or names of runs in runs/.", word="RUN")],
    *,
    out: Annotated[
        str | None, Says(help="File to write.", unit="FILE", shown_default="report.html in the first run's folder")
    ] = None,
    code: Annotated[
        tuple[str, ...], Says(help="Files of your own search spaces, for what their operations cost.", unit="FILE")
    ] = (),
) -> int:
    """One HTML page of runs that needs no network."""
    from nasray.results import report as write_report

    print(write_report(*(str(find_run(name)) for name in runs), out=out, code=code))
    return 0
