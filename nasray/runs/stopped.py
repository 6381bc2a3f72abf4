"""Searches that were stopped early: their rows stay, marked, and are on no front.

A search's outcome says that it was stopped, and is written first; its candidates are marked after it. What a kill left
unmarked in between, the next driver marks.
"""

from __future__ import annotations

from nasray.runs.outcomes import read_outcomes
from nasray.runs.schema import CANDIDATES
from nasray.runs.storage import Storage
from nasray.runs.tables import amend_row, read, row_file, row_files


def mark_stopped(storage: Storage, trial: str) -> None:
    """Mark the candidates of a search that was stopped just now: those that it gave since its phase's pass began, which
    have files of their own. So a running driver reads one list of names, and not the whole table.

    Args:
        storage: the run's folder.
        trial: its name.
    """
    for name in row_files(storage, CANDIDATES, trial):
        amend_row(storage, CANDIDATES, name, complete=False)


def mark_all_stopped(storage: Storage) -> None:
    """Mark the candidates of all searches that were stopped, as far as they are not marked.

    Args:
        storage: the run's folder.
    """
    stopped = [name for name, outcome in read_outcomes(storage).items() if outcome.state == "stopped"]
    if not stopped:
        return
    rows = read(storage, CANDIDATES)
    unmarked = rows[rows["trial_id"].isin(stopped) & ~rows["complete"].isin([False])]
    for key in unmarked[list(CANDIDATES.key)].to_dict("records"):
        amend_row(storage, CANDIDATES, row_file(CANDIDATES, {str(n): v for n, v in key.items()}), complete=False)
