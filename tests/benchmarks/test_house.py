"""What the house's benchmark counts, on files whose figures are known."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def house() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house", Path(__file__).with_name("house.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HELD = '''"""Reads "tuner.pkl"."""
import ray
from ray._private.state import state  # held
from ray.tune import Trial, Tuner


class Ours(Tuner):
    def __init__(self, trial: Trial):
        self._own = state.nodes()  # held
        trial.failures -= 1  # held
        name = "_own"
        self.trial = trial._replace()._hidden  # held
        ray.init(address="local", _temp_dir="x")  # held
        setattr(Tuner, "fit", name)  # held
        Tuner.restore = None  # held
        return getattr(trial, "_cached"), open("tuner.pkl"), self.x.__dict__  # held
'''


def test_lines_on_private_state_are_those_that_are_marked(house: ModuleType) -> None:
    marked = {number for number, line in enumerate(HELD.splitlines(), 1) if "# held" in line}
    assert house.private_lines(HELD) == marked
    found = {
        "nasray/tune/a.py": HELD,
        "nasray/methods/b.py": "x = 'tuner.pkl'\n",
        "nasray/tune/c.py": "y = 'tuner.pkl'\n",
    }
    assert [line.split(":")[0] for line in house.private_lines_of(found)] == ["nasray/tune/a.py"] * len(marked) + [
        "nasray/tune/c.py"
    ]


def test_circles_are_found_also_through_lazy_imports(house: ModuleType) -> None:
    found = {
        "nasray/__init__.py": "from nasray.f import y\n",
        "nasray/a.py": "import nasray.b\n",
        "nasray/b.py": "def f():\n    from nasray.c import g\n",
        "nasray/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nasray import a\n",
        "nasray/d.py": "from nasray.e import x\n",
        "nasray/e.py": "from nasray import d\n",
        "nasray/f.py": "import nasray.a, nasray.d\n",
    }
    at_import = house.circles(house.arrows(found, lazy=False))
    every = house.circles(house.arrows(found, lazy=True))
    assert at_import == [{"nasray.d", "nasray.e"}]
    assert sorted(map(sorted, every)) == [["nasray.a", "nasray.b", "nasray.c"], ["nasray.d", "nasray.e"]]


@pytest.mark.slow
def test_a_revision_is_a_column_beside_the_working_tree(house: ModuleType) -> None:
    if subprocess.run(["git", "rev-parse", "-q", "--verify", "HEAD"], cwd=house.ROOT, capture_output=True).returncode:
        pytest.skip("not a checkout")
    command = [sys.executable, Path(house.__file__), "HEAD"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout.splitlines()
    assert printed[0].split() == ["HEAD", "working", "tree"]
    lines = sum(len(path.read_bytes().splitlines()) for path in (house.ROOT / "nasray").rglob("*.py"))
    assert printed[1].split()[-1] == f"{lines:,}"
    assert printed[1].startswith("lines of product code")
    shown = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD", "nasray"], cwd=house.ROOT, capture_output=True
    )
    assert printed[2].split()[1] == str(sum(name.endswith(b".py") for name in shown.stdout.splitlines()))
