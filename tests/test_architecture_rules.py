"""The rules of design.md that hold for the code as a whole: who imports whom, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nasray

ROOT = Path(nasray.__file__).parent
GROUND = {"errors", "registry", "settings"}
"""What every room may use."""
CORE = {"spaces", "gates", "networks", "costs", "methods", "training", "tabular"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "registry": {"errors"},
    "settings": {"errors"},
    "spaces": set(),
    "gates": {"spaces"},
    "networks": {"spaces", "gates"},
    "costs": {"spaces", "gates", "networks"},
    "methods": {"spaces", "gates", "networks", "costs"},
    "training": {"spaces", "gates", "networks"},
    "tabular": {"spaces"},
    "runs": {"spaces"},
    "fronts": {"spaces", "costs", "runs"},
    "pictures": {"spaces", "runs", "fronts"},
    "deployment": {"spaces", "networks"},
    "results": {"spaces", "gates", "networks", "costs", "runs", "fronts", "pictures", "deployment"},
    "searchers": {"spaces", "costs"},
    "trials": {*CORE, "runs"},
    "tune": {*CORE, "runs", "fronts", "searchers", "trials"},
    "sweeps": {*CORE, "runs", "fronts", "pictures", "results", "searchers", "trials", "tune"},
    "cli": {*CORE, "runs", "fronts", "pictures", "results", "searchers", "trials", "tune", "sweeps"},
}
"""Arrows run downwards: what a room may use beside the ground."""

FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path) -> Iterator[str]:
    """All that a file imports, wherever in it: lazily and for types alone too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            # A package whose modules are imported is not itself what is used.
            yield from names if {*names} <= {*MODULES} else [node.module or "", *names]


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "nasray"


def files(room: str) -> list[Path]:
    return [path for module, path in MODULES.items() if room_of(module) == room]


def test_every_room_is_one_of_the_design():
    assert {room_of(module) for module in MODULES} - {"nasray"} == set(MAY_IMPORT)


def test_only_ground_stones_lie_loose():
    assert {path.stem for path in ROOT.glob("*.py")} == {"__init__", "errors", "gates", "settings"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_run_downwards(room: str):
    allowed = MAY_IMPORT[room] | {room} | (GROUND if room not in GROUND else set())
    for path in files(room):
        used = {name.split(".")[1] for name in imports(path) if name.startswith("nasray.")}
        beyond = (used & set(MAY_IMPORT)) - allowed
        assert not beyond, f"{path.relative_to(ROOT)} imports {beyond}"


def test_only_tune_imports_ray():
    for path in FILES:
        uses_ray = any(name.split(".")[0] == "ray" for name in imports(path))
        assert not uses_ray or path.is_relative_to(ROOT / "tune"), path


def test_no_circles():
    # Also none through lazy imports, or those for types alone. A package stands for its own __init__ only.
    arrows = {m: {n for n in imports(path) if n in MODULES and n != m} for m, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"circle: {' -> '.join((*way[way.index(module) :], module))}"
        if module not in done:
            for other in sorted(arrows[module]):
                visit(other, (*way, module))
            done.add(module)

    for module in sorted(arrows):
        visit(module, ())


@pytest.mark.parametrize(
    ("rooms", "packages"),
    [
        # Rule 8. scikit-learn is the digits' alone, imported when they are asked for.
        ([*GROUND, "deployment", *CORE - {"tabular"}], {"ray", "pandas", "pyarrow", "matplotlib", "optuna", "moocore"}),
        (["runs", "fronts", "pictures", "tabular"], {"ray", "torch", "torchvision", "optuna"}),
        (["spaces", *GROUND], {"torch"}),
        (["searchers"], {"ray", "torch", "pandas", "pyarrow"}),
    ],
)
def test_what_rooms_do_without(rooms: list[str], packages: set[str]):
    for path in (path for room in rooms for path in files(room)):
        assert not {name.split(".")[0] for name in imports(path)} & packages, path


def test_no_public_name_equals_a_submodule():
    # Importing the submodule would replace the name.
    assert not {*nasray.__all__} & {*MAY_IMPORT}


def test_a_method_knows_no_module_of_the_supernet():
    # It says what it needs of it, and gates stand between them.
    modules = {f"nasray.networks.{name}" for name in ("cell", "network", "operations", "skeletons", "blocks")}
    for path in files("methods"):
        assert not set(imports(path)) & modules, path


def test_nasray_names_no_file_of_search_spaces():
    for path in ROOT.rglob("*.py"):
        assert not [name for name in imports(path) if name.split(".")[0] == "search_spaces"], path


def python(code: str, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_importing_nasray_is_quick_and_brings_nothing_along():
    code = (
        "import sys, time; began = time.perf_counter(); import nasray; print(time.perf_counter() - began);"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    outputs = [python(code).splitlines() for _ in range(2)]
    assert min(float(output[0]) for output in outputs) < 0.5
    assert not set(outputs[0][1].split()) & {"torch", "ray", "pandas", "pyarrow", "matplotlib", "numpy", "sklearn"}


WITHOUT_RAY = """
import sys

class Without:
    # Does not find some packages: they are as if not installed.

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"ray", "pandas", "pyarrow", "matplotlib", "sklearn", "optuna", "moocore", "shtab"}:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import random
import numpy
import torch
torch.set_num_threads(1)
states = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state()
import nasray.trials.evaluation
import nasray.trials.search
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings
from nasray.methods.random import Random
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
assert states[:2] == (random.getstate(), numpy.random.get_state()[1].tolist()), "an import drew random numbers"
assert torch.equal(states[2], torch.get_rng_state()), "an import drew random numbers"

data = sys.argv[1] + ":noise"
settings = dict(epochs=1, channels=2, cells=3, batch_size=8)
search = Search(SearchConfig(method="random", space="gold", dataset=data, settings=Random.Config(**settings)))
(candidate,) = search.run_epoch().candidates
evaluation = Evaluation(
    EvaluationConfig(
        space="gold",
        dataset=data,
        architecture=candidate.architecture,
        settings=EvaluationSettings(**settings, augmentation="none"),
    )
)
evaluation.run_epoch()
print(candidate.architecture.id, evaluation.test_accuracy())
"""


@pytest.mark.slow
def test_the_core_runs_where_only_torch_is_installed(tmp_path: Path):
    file = tmp_path / "data.py"
    file.write_text(
        "import torch\n"
        "from nasray.training.dataset import Dataset\n"
        "def noise(root):\n"
        "    part = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4\n"
        "    same = {'none': lambda x, g: x, 'standard': lambda x, g: x}\n"
        "    return Dataset(name='noise', task='classification', classes=4, input_shape=(1, 6, 6), train=part,\n"
        "                   test=part, augmentations=same)\n"
    )
    identity, accuracy = python(WITHOUT_RAY, str(file)).split()
    assert len(identity) == 12
    assert 0 <= float(accuracy) <= 1
