"""Commands and Python of the documents: all are understood, up to where work would start; what is small runs."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import nasray
from nasray.cli import main
from nasray.sweeps import Sweep
from nasray.sweeps.learning import learners
from tests.snippets import DOCS, PAGES, ROOT, commands, python, words, write_files

# What several pages show is tried once, by the last of them.
SHOWN = [
    pytest.param(line, id=f"{page}: {line}", marks=[pytest.mark.slow] if "--minutes" in line else [])  # it measures
    for line, page in {
        line.partition("  #")[0].rstrip(): page.stem
        for page in (ROOT / "README.md", ROOT / "cluster" / "README.md", *PAGES)
        for line in commands(page)
    }.items()
]
TYPED = [page for page in PAGES if python(page)]
OWN = {"own_space": "shapes.py", "own_method": "above_mean.py", "own_dataset": "corners.py"}
SEARCHES = [
    pytest.param(line, id=line)
    for page in PAGES
    for line in commands(page)
    if line.startswith("nasray search") and not set(words(line)) & {"folder:imgs", "torchvision:SVHN"}
]


class AnyRun:
    """Stands for the runs that the documents name: a sweep's, as far as the command line reads it before it starts."""

    def read_json(self, name: str) -> dict[str, Any]:
        return {"sweep": {"training": {"settings": {}}}}


class WouldStart(BaseException):
    """Carries what would have been run: nothing that is understood may turn it into an error."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_files(tmp_path, ROOT / "README.md", *PAGES)
    for index in range(40):
        path = tmp_path / "imgs" / ("cats", "dogs")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), color=index).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def would_start(*given: Any, **_: Any) -> Any:
        raise WouldStart(*given)

    for function in ("run.run_sweep", "run.retrain", "single.search", "single.train", "resuming.resume_storage"):
        monkeypatch.setattr(f"nasray.sweeps.{function}", would_start)
    monkeypatch.setattr("nasray.cli.comparison.lines", would_start)
    monkeypatch.setattr("nasray.sweeps.forecast.epoch_seconds", lambda *_, **__: 0.5)
    monkeypatch.setattr("nasray.results.open", would_start)
    monkeypatch.setattr("nasray.results.report", would_start)
    for verbs in ("verbs", "architectures", "reporting"):
        monkeypatch.setattr(f"nasray.cli.{verbs}.find_run", lambda run: AnyRun())


@pytest.mark.parametrize("command", SHOWN)
@pytest.mark.usefixtures("folder", "starts_nothing")
def test_a_command_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, started = 0, None
    try:
        code = main(words(command))
    except WouldStart as would:
        started = would.args[0]
    if isinstance(started, Sweep) and started.search_arms:
        assert started.searches() or learners(started)
    assert code == 0, capsys.readouterr().err


@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.stem)
def test_python_imports_what_there_is(page: Path) -> None:
    for node in ast.walk(ast.parse("\n".join(python(page)))):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nasray":
            assert hasattr(nasray, node.attr), ast.unparse(node)


@pytest.mark.slow
@pytest.mark.parametrize("page", OWN)
def test_files_of_ones_own_run(page: str, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    command = [sys.executable, OWN[page]]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout
    assert (DOCS / f"{page}.md").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_three_lines_of_the_readme_run() -> None:
    (lines,) = (text for text in python(ROOT / "README.md") if "nasray.search" in text)
    names: dict[str, Any] = {}
    exec(compile(lines, "README.md", "exec"), names)
    assert names["trained"].evaluations["macs"].item() == names["found"].best(budget=0.2)["macs"]
    assert not names["network"].training


@pytest.mark.slow
@pytest.mark.parametrize("command", SEARCHES)
def test_searches_run(command: str, folder: Path) -> None:
    few = ["--train-examples", "300"] if "digits" in words(command) else []
    assert main([*words(command), *few, "--out", str(folder / "run")]) == 0
    candidates = nasray.load(folder / "run", "candidates")
    assert (candidates["macs"] > 0).all()
    assert len(candidates)
