"""The demonstration of the README with fewer trainings, and all that the documents do with what it gave."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import nasray
from tests.snippets import DOCS, blocks, commands_of, words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
NASRAY = Path(sys.executable).with_name("nasray")


@dataclass(frozen=True)
class Demonstration:
    folder: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    folder = tmp_path_factory.mktemp("digits")
    command = [NASRAY, "sweep", "digits", "--training.most", "4"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Demonstration(folder, done.stdout, done.stderr)


def test_the_demonstration_ends_in_a_front(digits: Demonstration) -> None:
    run = digits.folder / "runs" / "digits"
    assert nasray.load(run, "candidates")["trial_id"].nunique() >= 8
    front = nasray.load(run, "front")
    assert len(front) >= 2
    assert (front["macs"].diff()[1:] > 0).all()
    assert (front["accuracy"].diff()[1:] > 0).all()
    assert set(front["epochs"]) == {15}
    assert front["architecture_id"].iloc[0] in digits.stdout
    assert "front of" in digits.stderr


@pytest.mark.parametrize("page", ["tutorial", "results", "budgets", "resume", "strengths"])
def test_the_pages_go_on_from_there(page: str, digits: Demonstration, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands on this run and Python, in the page's order; sweeps of other settings are understood elsewhere."""
    monkeypatch.chdir(digits.folder)
    names: dict[str, object] = {}
    for block in blocks(DOCS / f"{page}.md"):
        if block.language == "python":
            exec(compile(block.text, f"{page}.md", "exec"), names)
        for line in commands_of(block):
            if "runs/digits" in line or line.startswith("nasray cost"):
                done = subprocess.run([NASRAY, *words(line)], capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{line}: {done.stderr[-2000:]}"
                assert done.stdout
