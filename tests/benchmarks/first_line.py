"""How long a sweep's command takes to its first line, to a Ray that runs, and to its first epoch.

    python tests/benchmarks/first_line.py [--sweep digits]

Runs the command in an empty folder and ends it with SIGINT once an epoch is done. Prints one line of JSON, in seconds
from the start of the process. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time

SIGNS = {"first_line": r".", "ray_asked_for": "starting Ray", "ray": "dashboard: ", "first_epoch": r"\| [1-9]\d* of "}
"""What each figure waits for, in the lines on standard error."""


def main() -> None:
    """Run it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", default="digits")
    print(json.dumps(first_line_seconds(parser.parse_args().sweep)))


def first_line_seconds(sweep: str = "digits") -> dict[str, float]:
    """Seconds from the start of ``nasray sweep`` to its first line, to Ray, to the first epoch, and of Ctrl-C."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="first-line-") as folder:
        command = [sys.executable, "-m", "nasray.cli", "sweep", sweep, "--name", "x"]
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            now = round(time.perf_counter() - began, 2)
            found |= {name: now for name, sign in SIGNS.items() if name not in found and re.search(sign, line)}
            if len(found) == len(SIGNS):
                break
        asked = time.perf_counter()
        process.send_signal(signal.SIGINT)
        process.stderr.readline()
        found["ctrl_c_line"] = round(time.perf_counter() - asked, 2)
        process.stderr.read()
        process.wait()
        found["ctrl_c_end"] = round(time.perf_counter() - asked, 2)
    return found


if __name__ == "__main__":
    main()
