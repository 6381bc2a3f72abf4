"""Draws ``docs/help_sweep.png``: what ``nasray sweep digits --help`` shows in a terminal of 100 columns.

python tests/benchmarks/help_picture.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

OUT = Path(__file__).parents[2] / "docs" / "help_sweep.png"
INK, QUIET, OPTION, HEADING = "#24292F", "#6E7781", "#0550AE", "#953800"
PAPER = "#F6F8FA"
POINTS = 8.37  # of which a letter is seven pixels wide
WIDTH, HEIGHT = POINTS * 0.602 / 72, POINTS * 1.3 / 72
"""Of a letter and of a line (inches): DejaVu Sans Mono's."""


def parts(line: str) -> list[tuple[int, str, str]]:
    """A line's coloured parts: column, text, colour."""
    if re.match(r"\S.*:$", line):
        return [(0, line, HEADING)]
    found = re.match(r"(  +)(-h, --help|--\S+)((?: \S+)*)?(.*)$", line)
    if not found:
        return [(0, line, INK)]
    before, option, value, text = found.groups()
    return [
        (len(before), option, OPTION),
        (len(before + option), value, QUIET),
        (len(before + option + value), text, INK),
    ]


def main() -> None:
    command = ["nasray", "sweep", "digits", "--help"]
    done = subprocess.run(
        [sys.executable, "-m", "nasray.cli", *command[1:]],
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [f"$ {' '.join(command)}", *done.stdout.rstrip().splitlines()]
    size = (102 * WIDTH, (len(lines) + 1) * HEIGHT)
    figure = Figure(figsize=size, facecolor=PAPER)
    for row, line in enumerate(lines):
        words = [
            (start + word.start(), word.group(), colour)
            for start, text, colour in parts(line)
            for word in re.finditer(r"\S+", text)
        ]
        for column, text, colour in words:  # each at its column: letters are as wide as whole pixels
            figure.text(
                (1 + column) * WIDTH / size[0],
                1 - (row + 1) * HEIGHT / size[1],
                text.replace("$", r"\$"),
                family="DejaVu Sans Mono",
                size=POINTS,
                color=colour,
                weight="bold" if colour == HEADING else "normal",
                va="center",
            )
    figure.savefig(OUT, dpi=100)
    print(f"{OUT.name}: {len(lines) - 1} lines")


if __name__ == "__main__":
    main()
