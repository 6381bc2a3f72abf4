"""Fixtures and switches for the whole suite."""

from __future__ import annotations

import importlib
import os
import pkgutil
import secrets
import signal
import sys
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
import torch
from xdist.scheduler import LoadFileScheduling

import nasray
from nasray.spaces import CellSpace

# Tests start hundreds of processes that import nasray: it is compiled once, also where the environment would have it
# compiled by each.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Where nothing answers, S3's library would ask for half a minute whether this is a machine of EC2's.
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
# Beside other work any example may take long: what is too slow is told by the tests' own time-out.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=40)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=120)  # .ci/run's
hypothesis.settings.load_profile("quick")
pytest_plugins = ["tests.browser", "tests.object_store", "tests.ray_session", "tests.run_files"]


def pytest_configure() -> None:
    # The networks of tests are so small that a second thread gains nothing, and beside other work waits for its turn.
    torch.set_num_threads(1)
    # A shell starts what is to run in the background with SIGINT ignored, and so would all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _all_modules() -> None:
    """A module that is first imported while a test has replaced a function keeps the replacement for good."""
    for module in pkgutil.walk_packages(nasray.__path__, "nasray."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return OneRay(config, log) if config.getvalue("dist") == "loadfile" else None


class OneRay(LoadFileScheduling):
    """Keeps what runs Ray in one of pytest-xdist's processes, for two would take one another's ports; of the rest the
    tests of a file, for the sake of its fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "ray" if file.startswith(("tests/sweeps/", "tests/tune/")) else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


# As a cluster has it: who has no token is told nothing. A process reads it once, before its first use of Ray.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

RandomMasks = Callable[[CellSpace, int, np.random.Generator], list[npt.NDArray[np.bool_]]]


@pytest.fixture(scope="session")
def random_masks() -> RandomMasks:
    """Masks, one for each cell position, in which every node receives something; thin ones and full ones.

    Where an edge takes one operation, one of all on every edge, that may be none.
    """

    def make(space: CellSpace, cells: int, generator: np.random.Generator) -> list[npt.NDArray[np.bool_]]:
        by_name: dict[str, npt.NDArray[np.bool_]] = {}
        for name in dict.fromkeys(space.layout(cells)):
            graph = space.graph(name)
            mask = generator.random((len(graph.edges), len(graph.operations))) < generator.uniform(0.05, 0.9)
            usable = [i for i, operation in enumerate(graph.operations) if operation != graph.none]
            if graph.one_per_edge:
                mask[:] = False
                mask[np.arange(len(mask)), generator.integers(mask.shape[1], size=len(mask))] = True
            mask[:, [i for i in range(len(graph.operations)) if i not in usable]] = False
            for node in graph.targets if not graph.one_per_edge else ():
                edges = [i for i, (_, target) in enumerate(graph.edges) if target == node]
                if not mask[edges].any():
                    mask[generator.choice(edges), generator.choice(usable)] = True
            by_name[name] = mask
        return [by_name[name] for name in space.layout(cells)]

    return make
