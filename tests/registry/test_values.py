"""Values of Python in the place of names: datasets, spaces and methods of a notebook."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import resize

import nasray
from nasray import registry
from nasray.errors import InvalidInput
from nasray.methods.random import Random
from nasray.spaces import CellSpace
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.training import Dataset, ImageTransform
from nasray.training.datasets import digits

SMALL: dict[str, Any] = {
    **{"epochs": 1, "channels": 2, "cells": 3, "batch_size": 32, "auxiliary_weight": 0.0},
    **{"augmentation": "none", "train_examples": 64},
}
BELOW, LOW = 5, 3
GOLD: CellSpace = registry.find("space", "gold", CellSpace)


def low_digits(root: Path | None) -> Dataset:
    """Digits below five."""
    whole = digits(root)
    parts = [(inputs[targets < BELOW], targets[targets < BELOW]) for inputs, targets in (whole.train, whole.test)]
    return dataclasses.replace(whole, name="low", classes=BELOW, train=parts[0], test=parts[1], class_names=())


class Wandering(Random):
    """A method of one's own."""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_search_and_a_training_of_values() -> None:
    sizes = {"evaluation_channels": 2, "evaluation_cells": 3}
    found = nasray.search(Wandering, GOLD, low_digits, **sizes, **SMALL)
    (row,) = found.candidates.to_dict("records")
    assert [row[kind].rpartition("-")[0] for kind in ("method", "space", "dataset")] == [
        "value:Wandering", "value:gold", "value:low_digits",
    ]  # fmt: skip
    trained = nasray.train(found.best(), **SMALL)  # by the names of its row
    assert trained.network("best").eval()(torch.zeros(1, 1, 8, 8)).shape == (1, BELOW)
    # The same again is found done; a dataset that is given as it is has the name of its examples.
    assert str(nasray.search(Wandering, GOLD, low_digits, **sizes, **SMALL)) == str(found)
    assert (
        nasray.train(found.best(), dataset=low_digits(None), **SMALL).evaluations["dataset"][0].startswith("value:low-")
    )
    assert found.command is None
    assert "values of Python" in found.storage.read_json("run.json")["why_no_command"]


def test_a_value_s_name_is_made_of_its_content() -> None:
    def made(scale: float, table: Any) -> Any:
        def dataset(root: Path | None) -> Dataset:
            return dataclasses.replace(low_digits(root), name=f"{scale} {len(table)}")

        return dataset

    arrays = [np.arange(100_000), np.arange(100_000)]
    arrays[1][50_000] = 0  # in the middle, which no text of it shows
    tensors = [torch.from_numpy(array) for array in arrays]
    first = registry.named("dataset", made(1.0, arrays[0]))
    assert registry.named("dataset", made(1.0, arrays[0])) == first
    others = [made(2.0, arrays[0]), made(1.0, arrays[1]), made(1.0, tensors[0]), made(1.0, tensors[1])]
    assert len({first, *(registry.named("dataset", other) for other in others)}) == 5
    assert registry.named("dataset", "digits") == "digits"
    assert registry.named("space", GOLD) != registry.named("space", dataclasses.replace(GOLD, search_cells=5))


CELLS = """
import dataclasses
from nasray.methods.random import Random
from nasray.training.datasets import digits
SCALE = {scale}
class Base(Random):
    share = {share}
class Own(Base):
    def step(self, *given):
        return SCALE
def dataset(root):
    return (lambda whole: dataclasses.replace(whole, name=str(SCALE)))(digits(root))
def other(root):
    return digits(root).SCALE
"""


@pytest.mark.parametrize(
    ("name", "changes", "same"),
    [
        ("Own", {}, True),
        ("Own", {"scale": 2}, False),
        ("Own", {"share": 0.5}, False),
        ("dataset", {"scale": 2}, False),
        ("dataset", {"share": 0.5}, True),
        ("other", {"scale": 2}, True),  # an attribute of that name is another thing
    ],
)
def test_what_a_value_uses_is_part_of_it(
    name: str, changes: dict[str, float], same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)

    def named(**given: float) -> Any:
        module = f"cells_{uuid.uuid4().hex}"
        (tmp_path / f"{module}.py").write_text(CELLS.format(**{"scale": 1, "share": 0.1, **given}))
        return registry.named("method" if name == "Own" else "dataset", getattr(importlib.import_module(module), name))

    assert (named() == named(**changes)) is same


def test_values_that_differ_little_have_different_names() -> None:
    whole = digits(None)
    edges = [((0, 1, 2), (1, 2, 2)), ((0, 1, 1), (1, 2, 2))]
    functions = [lambda root, kind=kind: kind for kind in ("noise", "easy")]
    pairs: list[tuple[str, Any, Any]] = [
        ("dataset", *functions),
        ("dataset", lambda root: edges[0], lambda root: edges[1]),
        ("dataset", lambda root: sum(BELOW for _ in edges[0]), lambda root: sum(LOW for _ in edges[0])),
        ("dataset", functools.partial(low_digits, 1), functools.partial(low_digits, 2)),
        ("dataset", whole, dataclasses.replace(whole, augmentations={"none": ImageTransform(mean=(0.5,), std=(9.0,))})),
        ("dataset", whole, dataclasses.replace(whole, class_names=tuple("abcdefghij"))),
        ("space", dataclasses.replace(GOLD, evaluation_cells=5), dataclasses.replace(GOLD, evaluation_channels=5)),
    ]
    for kind, one, other in pairs:
        assert registry.named(kind, one) != registry.named(kind, other)
    named = registry.named("dataset", lambda root: resize(root))  # whose library is not looked through
    assert named.startswith("value:_lambda_-")


def test_what_is_no_value_any_more_says_so() -> None:
    with pytest.raises(InvalidInput, match=r"^dataset 'value:gone-0123456789ab' was a value of Python") as error:
        nasray.search("random", "gold", "value:gone-0123456789ab", **SMALL)
    assert "\n" not in str(error.value)
    for wrong in (7, None, ["digits"]):
        with pytest.raises(InvalidInput):
            Sweep(name="wrong", dataset=wrong, arms=())  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_sweep_of_values_runs_under_ray(ray_session: None) -> None:
    own = {name: value for name, value in SMALL.items() if name != "auxiliary_weight"}
    sweep = Sweep(
        name="values",
        dataset=low_digits,  # type: ignore[arg-type]
        arms=(Arm(method=Wandering, space=GOLD, settings=Wandering.Config(**own)),),  # type: ignore[arg-type]
        training=Training(settings=EvaluationSettings(**SMALL, drop_path=0.0)),
        random_baseline=False,
        execution=Execution(cpus_per_trial=0.5),
    )
    run = nasray.sweep(sweep)
    (row,) = run.evaluations.to_dict("records")
    assert row["method"].startswith("value:Wandering-")
    assert run.network("best").eval()(torch.zeros(1, 1, 8, 8)).shape == (1, BELOW)
    assert nasray.sweep(sweep).front().equals(run.front())
