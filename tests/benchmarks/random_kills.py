"""Kills the driver of a small sweep at random moments, and counts the rows that are lost or doubled: none may be.

    python tests/benchmarks/random_kills.py [--kills 30] [--seed 0] [--folder DIR]

The same command is run again after every kill, and once a run has ended another one begins, until there were so many
kills. Most come while trials run: after the first file that a trial wrote since the driver began. Every run's tables
are compared, value by value, with those of the same sweep left alone. Not part of CI: 30 kills take some ten minutes.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from nasray import load  # noqa: E402
from nasray.runs import TABLES  # noqa: E402
from tests.sweep_files import gold_sweep  # noqa: E402

VOLATILE = ["run", "created_at", "seconds", "peak_memory_bytes", "host", "versions"]
"""Columns that two equal runs may differ in."""


def command(folder: Path, name: str) -> list[str]:
    sweep = gold_sweep(
        folder,
        examples=512,
        settings={"epochs": 8, "lambda0": 0.1, "learning_rate": 0.1},
        evaluation={"epochs": 5, "drop_path": 0.1, "learning_rate": 0.1},
        mu=(0.0, 30.0, 300.0),
        training={"within": 0.05},
    )
    return [sys.executable, "-m", "nasray.cli", "sweep", sweep, "--storage", str(folder), "--name", name]


def written_by_trials(run: Path) -> dict[Path, float]:
    """Checkpoints, outcomes and rows with the moment at which each was written."""
    found = {}
    for pattern in ("trials/*/*.state", "trials/*.json", "*/row-*.parquet"):
        for path in run.glob(pattern):
            try:
                found[path] = path.stat().st_mtime
            except FileNotFoundError:
                continue
    return found


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command(folder, name), stdout=log, stderr=log, start_new_session=True)


def killed(folder: Path, name: str, draws: random.Random) -> str:
    """Run the sweep until a random moment; gives when it was killed, or that it ended before."""
    before = written_by_trials(folder / name)
    driver = start(folder, name)
    early = draws.random() < 0.15
    if early:
        time.sleep(draws.uniform(0, 8))
    else:
        while driver.poll() is None and written_by_trials(folder / name) == before:
            time.sleep(0.02)
        time.sleep(draws.uniform(0, 4))
    if driver.poll() is not None:
        assert driver.returncode == 0, (folder / f"{name}.log").read_text()[-3000:]
        return "ended"
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    return "early" if early else "running"


def rows(run: Path, table: str) -> pd.DataFrame:
    frame = load(run, table)
    return frame.drop(columns=[name for name in VOLATILE if name in frame.columns])


def wrong_rows(run: Path, alone: Path) -> tuple[int, int]:
    """How many rows are lost (or other than they should be), and how many lie twice."""
    lost = doubled = 0
    for table in TABLES.values():
        mine, theirs = rows(run, table.name), rows(alone, table.name)
        both = theirs.merge(mine, how="left", indicator=True)
        lost += int((both["_merge"] != "both").sum())
        files = [pd.read_parquet(path) for path in (run / table.name).glob("*.parquet")]
        doubled += int(pd.concat(files).duplicated(subset=list(table.key)).sum()) + max(0, len(mine) - len(theirs))
    return lost, doubled


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="nasray-kills-"))
    draws = random.Random(options.seed)
    assert start(folder, "alone").wait() == 0, (folder / "alone.log").read_text()[-3000:]
    print(f"left alone: {sum(len(rows(folder / 'alone', table)) for table in TABLES)} rows", flush=True)
    moments: list[str] = []
    lost = doubled = runs = 0
    while sum(moment != "ended" for moment in moments) < options.kills:
        name = f"killed_{runs}"
        moments.append(killed(folder, name, draws))
        enough = sum(moment != "ended" for moment in moments) >= options.kills
        if enough and moments[-1] != "ended":
            assert start(folder, name).wait() == 0, (folder / f"{name}.log").read_text()[-3000:]
        if enough or moments[-1] == "ended":
            one_lost, one_doubled = wrong_rows(folder / name, folder / "alone")
            lost, doubled, runs = lost + one_lost, doubled + one_doubled, runs + 1
    print(
        f"{options.kills} kills of {runs} runs, {moments.count('running')} of them while trials ran: "
        f"rows lost {lost}, rows doubled {doubled}"
    )
    return int(bool(lost or doubled))


if __name__ == "__main__":
    sys.exit(main())
