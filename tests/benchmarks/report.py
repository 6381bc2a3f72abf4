"""Seconds and bytes of the report of a run with many candidates, and of its page in Chromium.

    python tests/benchmarks/report.py [--candidates 10000]

The run is made up: searches that prune architectures of the space gold, 50 epochs each. What opening, filtering and
sorting the page takes is told where Debian's chromium and chromium-driver are there.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import nasray
from tests.browser import chromium, wait
from tests.report_runs import made_run

EPOCHS = 50
# What a person waits for: the page's own work, with the figures drawn again.
CHANGE = "const box = document.getElementById('{id}'); box.value = '{value}'; box.dispatchEvent(new Event('change'));"
SCRIPTS = {
    "show all candidates": CHANGE.format(id="part", value=1),
    "filter them by budget": CHANGE.format(id="budget-number", value=0.1),
    "take the budget away": CHANGE.format(id="budget-number", value=""),
    "filter by method": "document.querySelector('#methods input').click();",
    "and back": "document.querySelector('#methods input').click();",
    "sort the table": "document.querySelector('button[data-sort=macs]').click();",
    "select a row": "document.querySelector('#table tbody tr:nth-child(3)').click();",
}


READY = "return Number(document.documentElement.dataset.ready) / 1000"


def main() -> None:
    """Make the run, write its report, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=10_000)
    count = parser.parse_args().candidates
    with tempfile.TemporaryDirectory() as folder:
        run = made_run(Path(folder) / "run", searches=count // EPOCHS, epochs=EPOCHS, trained=40, failed=0)
        began = time.perf_counter()
        file = Path(nasray.report(str(run)))
        print(f"{count} candidates: report in {time.perf_counter() - began:.1f} s, {file.stat().st_size / 1e6:.2f} MB")
        if shutil.which("chromedriver") is None:
            return
        with chromium() as browser:
            for which in ("first", "second"):
                browser.open(file.as_uri())
                wait(lambda: browser.run("return document.documentElement.dataset.ready"), 60)
                print(f"{which} time: page ready after {browser.run(READY):.2f} s")
            for what, script in SCRIPTS.items():
                timed = f"const began = performance.now(); {script} return performance.now() - began"
                print(f"{what}: {browser.run(timed):.0f} ms")


if __name__ == "__main__":
    main()
