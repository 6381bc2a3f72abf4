"""How long people wait before anything happens: medians of fresh processes, each beside that of an empty one.

    python tests/benchmarks/start_times.py [--repeats N]

Python's own start is taken off where a limit is of an import. Limits (issue 11): ``import nasray`` 0.1 s, ``--help``
0.5 s. A sweep's own help loads its methods, and so torch, whose import stands beside it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

CLI = ["-m", "nasray.cli"]
STARTS: dict[str, list[str]] = {
    "python, empty": ["-c", ""],
    "import torch": ["-c", "import torch"],
    "import nasray": ["-c", "import nasray"],
    "dir(nasray), nasray.list()": ["-c", "import nasray; dir(nasray); nasray.list()"],
    "nasray --version": [*CLI, "--version"],
    "nasray --help": [*CLI, "--help"],
    "nasray cost --help": [*CLI, "cost", "--help"],
    "nasray list": [*CLI, "list"],
    "nasray sweeep (a slip)": [*CLI, "sweeep"],
    "nasray sweep digits --help": [*CLI, "sweep", "digits", "--help"],
    "nasray list methods": [*CLI, "list", "methods"],
}
"""What is started: arguments of Python."""


def seconds(arguments: list[str]) -> float:
    """Wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="processes of each (default: 5)")
    repeats = parser.parse_args().repeats
    found: dict[str, list[float]] = {name: [] for name in STARTS}
    for arguments in STARTS.values():
        seconds(arguments)  # files come into the page cache
    for _ in range(repeats):  # in turn, so that what else runs falls on all
        for name, arguments in STARTS.items():
            found[name].append(seconds(arguments))
    print(f"{'':28} {'median s':>9} {'fastest':>9}   of {repeats}")
    for name, times in found.items():
        print(f"{name:28} {statistics.median(times):9.3f} {min(times):9.3f}")
    own = min(found["import nasray"]) - min(found["python, empty"])
    print(f"\nimport nasray adds {own:.3f} s to the start of Python (limit 0.1 s)")


if __name__ == "__main__":
    main()
