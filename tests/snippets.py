"""What the documents show: files, commands and Python, as they stand there."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
_BLOCK = re.compile(r"(?:^<!-- (?:file|example): (\S+) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    file: str | None = None
    """Name of the file that it is."""


def blocks(page: Path) -> list[Block]:
    """In their order."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(language, text, file or None) for file, language, text in found]


def commands(page: Path) -> list[str]:
    """Each command line of nasray's, in their order."""
    return [line for block in blocks(page) for line in commands_of(block)]


def commands_of(block: Block) -> list[str]:
    """Those of a block; one that goes on in further lines is one line."""
    lines = block.text.replace("\\\n", " ") if block.language in ("sh", "bash") else ""
    return re.findall(r"^(?:.* (?:--|&&) )?(nasray .*)", lines, re.MULTILINE)


def python(page: Path) -> list[str]:
    """Python to type, in its order."""
    return [block.text for block in blocks(page) if block.language == "python" and block.file is None]


def write_files(folder: Path, *pages: Path) -> None:
    """Write the files that pages show."""
    for page in pages:
        for block in blocks(page):
            if block.file is not None:
                (folder / block.file).write_text(block.text)


def words(command: str) -> list[str]:
    """What a shell makes of a command: its words after ``nasray``."""
    script = 'nasray() { printf "%s\\0" "$@"; }\n' + command.partition(" > ")[0]
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]
