"""Data and code are what they hold: moved they are the same, edited they are others."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

import nasray
from nasray import registry
from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.methods import Problem
from nasray.methods.random import Random
from nasray.runs import CANDIDATES, open_storage, read
from nasray.spaces import NetworkSize
from nasray.training.dataset import load_dataset
from nasray.trials.differing import differing_in
from nasray.trials.evaluation import EvaluationConfig, EvaluationSettings
from nasray.trials.identity import config_of_row, digest_of_files, identity, without_folders
from nasray.trials.search_config import SearchConfig
from nasray.trials.trial import SearchTrial
from search_spaces.architectures.gold import GOLD

DATASET = """
import torch
from nasray.training import Dataset

def stripes(root=None):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(40) % 2
    x = (torch.rand(40, 1, 8, 8, generator=generator) * 255).to(torch.uint8)
    standard = lambda x, generator=None: x.float() / 255
    return Dataset(name="stripes", task="classification", classes=2, input_shape=(1, 8, 8), train=(x, y), test=(x, y),
                   augmentations={"none": standard, "standard": standard})
"""
SPACE = """
from nasray.spaces import CellGraph, CellSpace, Normalisation
import my_names

PLAIN = Normalisation(affine=True, after_pool=False, after_identity=False)
SMALL = CellSpace(name="small", cells={"normal": CellGraph(inputs=2, nodes=1, operations=my_names.OPERATIONS)},
                  search_channels=2, search_cells=1, evaluation_channels=2, evaluation_cells=1,
                  search_normalisation=PLAIN, evaluation_normalisation=PLAIN)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "my_dataset.py").write_text(DATASET)
    (folder / "my_space.py").write_text(SPACE)
    (folder / "my_names.py").write_text("OPERATIONS = ('skip_connect', 'avg_pool_3x3')\n")
    return folder


def search(project: Path, *more: str, epochs: int = 1) -> int:
    names = [f"{project}/my_space.py:SMALL", f"{project}/my_dataset.py:stripes"]
    return main(["search", "random", *names, "--epochs", str(epochs), "--batch-size", "8", *more])


def edited(project: Path, to: Path, name: str, old: str, new: str) -> Path:
    """A copy of a project with a file edited, elsewhere: in one process a file is read once."""
    shutil.copytree(project, to)
    text = (to / name).read_text()
    assert old in text
    (to / name).write_text(text.replace(old, new))
    return to


def test_a_moved_project_goes_on_and_edited_data_or_code_are_another(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert search(project, "--out", str(out)) == 0
    before = read(open_storage(out), CANDIDATES)
    moved = shutil.copytree(project, tmp_path / "elsewhere" / "moved")
    assert search(moved, "--out", str(out)) == 0
    after = read(open_storage(out), CANDIDATES)
    assert list(after["created_at"]) == list(before["created_at"])
    assert str(tmp_path) not in after.to_csv()

    # Labels turned round: the same names, sizes and settings.
    permuted = edited(project, tmp_path / "permuted", "my_dataset.py", "% 2\n", "% 2\n    y = y.flip(0)\n")
    capsys.readouterr()
    assert search(permuted, "--out", str(out)) == 2
    said = capsys.readouterr().err
    assert (
        "holds another search, which differs in the dataset's content, the code of dataset my_dataset.py:stripes."
        in said
    )
    operations = edited(project, tmp_path / "operations", "my_names.py", "avg_pool", "max_pool")
    assert search(operations, "--out", str(out)) == 2
    assert "which differs in the code of space my_space.py:SMALL." in capsys.readouterr().err
    assert search(project, "--out", str(out), epochs=2) == 2
    assert "which differs in epochs (the run has 1, this command 2)." in capsys.readouterr().err

    other = tmp_path / "other"
    assert search(permuted, "--out", str(other)) == 0
    assert main(["front", str(out)]) == 0
    assert main(["front", str(out), str(other)]) == 2
    assert "they differ in dataset_digest" in capsys.readouterr().err


def test_a_dataset_is_its_tensors(project: Path) -> None:
    digits = load_dataset("digits")
    inputs, targets = digits.train
    assert dataclasses.replace(digits, name="mine", train=(inputs.clone(), targets.clone())).digest == digits.digest
    one = targets.clone()
    one[7] = (one[7] + 1) % 10
    brighter = inputs.clone()
    brighter[3, 0, 0, 0] += 1
    for changed in (
        {"train": (inputs, one)},
        {"train": (brighter, targets)},
        {"train": (inputs.to(torch.int16), targets)},
        {"test": (inputs, targets)},
        {"train": (inputs.flip(0), targets.flip(0))},
        {"classes": 11, "class_names": ()},
    ):
        assert dataclasses.replace(digits, **changed).digest != digits.digest
    # Whatever a target is.
    odd = torch.randn(4, 3, dtype=torch.complex64), torch.randn(4, 2).to(torch.bfloat16)
    regression = dataclasses.replace(digits, task="regression", train=odd, test=odd)
    assert regression.digest == dataclasses.replace(regression).digest


SIZE = NetworkSize(channels=2, cells=3, input_shape=(1, 8, 8), classes=10)


def config(**changes: object) -> SearchConfig:
    values = {"method": "random", "space": "gold", "dataset": "digits", "settings": Random.Config(epochs=1)}
    return SearchConfig(**{**values, **changes})  # type: ignore[arg-type]


def test_where_data_lie_is_no_part_of_an_identity(tmp_path: Path) -> None:
    here, there = config(data_root="/here"), config(data_root=str(tmp_path))
    assert identity(here) == identity(there)
    assert SearchTrial(run="a", config=here).name == SearchTrial(run="b", config=there).name
    assert differing_in(identity(here), identity(config(seed=1))) == ["seed (the run has 1, this command 0)"]
    architecture = Random(Random.Config(), Problem(GOLD, SIZE, SIZE, 0)).architecture()
    evaluation = EvaluationConfig(
        space="gold", dataset="digits", architecture=architecture, settings=EvaluationSettings(), data_root="/here"
    )
    assert "/here" not in str(identity(evaluation))


def test_the_config_of_a_row_is_found_among_the_names_of_a_sweep(project: Path) -> None:
    mine = config(space=f"{project}/my_space.py:SMALL", dataset=f"{project}/my_dataset.py:stripes")
    row = json.dumps(identity(mine))
    assert str(project) not in row
    assert config_of_row(row, ["random", mine.space, mine.dataset], None) == mine
    with pytest.raises(InvalidInput, match=r"'my_space\.py:SMALL' is a user's own code: give the file"):
        config_of_row(row, ["random", "gold", mine.dataset], None)


def test_plain_values_lose_the_folders_of_names_only() -> None:
    values = {"space": "/a/b/mine.py:SMALL", "list": ["x.py:Y", "/a/b.py", "s3://b/c"], "number": 3}
    assert without_folders(values) == {"space": "mine.py:SMALL", "list": ["x.py:Y", "/a/b.py", "s3://b/c"], "number": 3}
    assert registry.portable("C:\\x\\mine.py:A") == "mine.py:A"


def test_files_and_folders_have_a_digest_wherever_they_lie(tmp_path: Path) -> None:
    def digest(name: str, *, verify: bool = False) -> str:
        digest_of_files.cache_clear()  # as in another process
        return digest_of_files(str(tmp_path / name), verify)

    for folder in ("one", "two"):
        for i in range(200):
            (tmp_path / folder / str(i % 3)).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / str(i % 3) / f"{i}.png").write_bytes(bytes([i]) * 10)
    (tmp_path / "table.csv").write_text("arch,acc_1\n")
    table, folder, whole = digest("table.csv"), digest("one"), digest("one", verify=True)
    assert (digest("two"), digest("two", verify=True)) == (folder, whole)
    for i in range(200):  # all of the contents change, no name and no size
        (tmp_path / "two" / str(i % 3) / f"{i}.png").write_bytes(bytes([255 - i]) * 10)
    assert digest("two") != folder
    (tmp_path / "one" / "0" / "more.png").touch()
    assert digest("one") != folder
    (tmp_path / "table.csv").write_text("arch,acc_2\n")
    assert digest("table.csv") != table
    with pytest.raises(InvalidInput, match=r"nothing cannot be read \(No such file"):
        digest("nothing")


def test_a_run_of_own_code_goes_on_with_the_code_that_the_caller_gives(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert search(project, "--out", str(out)) == 0
    moved = tmp_path / "moved"
    shutil.move(project, moved)
    project.mkdir()
    for name in ("my_space.py", "my_dataset.py"):  # what the folder names is never loaded
        (project / name).write_text(f"open({str(tmp_path / 'loaded')!r}, 'w')")
    files = [str(moved / "my_space.py"), str(moved / "my_dataset.py")]
    capsys.readouterr()
    assert main(["resume", str(out)]) == 2
    assert re.search(r"'my_\w+\.py:\w+' of .* is a user's own code.*: --code my_\w+\.py, or", capsys.readouterr().err)
    assert main(["resume", str(out), "--code", *files]) == 0
    assert nasray.resume(out, code=files).candidates["space"].tolist() == ["my_space.py:SMALL"]
    edited(moved, tmp_path / "edited", "my_dataset.py", "% 2\n", "% 2  # the same, in other words\n")
    capsys.readouterr()
    assert main(["resume", str(out), "--code", files[0], str(tmp_path / "edited" / "my_dataset.py")]) == 2
    assert "differs in the code of dataset my_dataset.py:stripes" in capsys.readouterr().err
    assert not (tmp_path / "loaded").exists()
