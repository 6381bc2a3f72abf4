"""The commands of docs/command_line.md are understood as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nasray.cli import main
from nasray.cli.all_verbs import VERBS
from tests.test_readme import EXAMPLES

TEXT = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("nasray ")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in EXAMPLES.items():
        (tmp_path / name).write_text(code)
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    (tmp_path / "runs" / "digits" / "run.json").write_text('{"sweep": {"training": {"settings": {}}}}')
    monkeypatch.chdir(tmp_path)
    _, verb, *words = shlex.split(command.partition(" > ")[0])
    if "--print-completion" in command or "--help" in command or "--help-all" in command:
        assert main([verb, *words]) == 0
    else:
        assert VERBS[verb].taken(words) or verb == "runs"
