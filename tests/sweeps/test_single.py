"""A search and a training from Python, and `nasray train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import nasray
from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.training.dataset import load_dataset
from nasray.trials.evaluation import Evaluation
from nasray.trials.search import Search
from tests.benchmarks.own_images import draw

TINY: dict[str, Any] = {
    **{"batch_size": 32, "channels": 2, "cells": 3, "auxiliary_weight": 0.0, "augmentation": "standard"},
    **{"train_examples": 64},
}
FLAGS = [part for name, value in TINY.items() for part in (f"--{name}", str(value))]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_from_a_search_to_a_trained_network_in_three_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = nasray.search("random", "gold", "digits", epochs=2, evaluation_channels=2, **TINY)
    trained = nasray.train(found.best(budget=10), epochs=2, **TINY)
    network = trained.network()

    (row,) = trained.evaluations.to_dict("records")
    assert (row["method"], row["epochs"]) == ("random", 2)
    assert row["architecture_id"] == found.best()["architecture_id"]
    images, targets = load_dataset("digits").test
    with torch.no_grad():
        right = network(load_dataset("digits").augmentations["none"](images, None)).argmax(1) == targets
    assert float(right.float().mean()) == pytest.approx(row["test_accuracy"], abs=1e-7)
    # Both lie where a command line finds them; the same again is found done, another one has a folder of its own.
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert [name.rpartition("-")[0] for name in folders] == [
        f"{row['architecture_id']}-gold-digits",
        "random-gold-digits",
    ]
    with monkeypatch.context() as patched:
        patched.setattr(Evaluation, "run_epoch", lambda _: pytest.fail("it was trained again"))
        again = nasray.train(found.best(), epochs=2, **TINY)
    assert again.evaluations.equals(trained.evaluations)
    assert len(nasray.train(found.best(), epochs=1, **TINY).evaluations) == 1
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_defaults_follow_the_space_and_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # nasray's own example: images of 8x8, where the published limit is far above any network.
    size: dict[str, Any] = {"channels": 2, "cells": 3, "evaluation_channels": 2, "evaluation_cells": 3}
    found = nasray.search("gold_nas", "gold", "digits", epochs=1, train_examples=96, **size)
    assert json.loads(found.candidates["settings"].iloc[0])["settings"]["augmentation"] == "cutout"
    said = capsys.readouterr().err
    assert "nasray: the search by gold_nas pruned nothing and ended with the largest network. Raise lambda0 " in said
    # A dataset of which only the least augmentation is known.
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from nasray.training.datasets import digits\n"
        "def plain(root):\n"
        "    dataset = digits(root)\n"
        "    return replace(dataset, name='plain', augmentations={'none': dataset.augmentations['none']})\n"
    )
    settings = {**TINY, **size}
    del settings["augmentation"]
    trained = nasray.search("darts", "gold", "mine.py:plain", epochs=1, **settings)
    assert json.loads(trained.candidates["settings"].iloc[0])["settings"]["augmentation"] == "none"
    with pytest.raises(InvalidInput, match=r"^augmentation 'standard': dataset 'plain' has none"):
        nasray.search("darts", "gold", "mine.py:plain", epochs=1, **{**settings, "augmentation": "standard"})


def test_an_id_costs_what_its_row_says(capsys: pytest.CaptureFixture[str]) -> None:
    found = nasray.search(
        "random", "gold", "digits", epochs=1, evaluation_channels=3, evaluation_cells=4, **TINY | {"cells": 4}
    )
    row = found.best()
    capsys.readouterr()
    assert main(["cost", "gold", row["architecture_id"]]) == 0
    assert "(3 channels, 4 cells, input 1x8x8, 10 classes)" in capsys.readouterr().out
    assert main(["cost", "gold", row["architecture_id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["macs"] == row["macs"]
    assert main(["cost", "gold", row["architecture_id"], "--channels", "6", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert (counted["channels"], counted["cells"], counted["input_shape"]) == (6, 4, [1, 8, 8])
    assert counted["macs"] > 3 * row["macs"]
    # The skeleton follows the input: the field prints some 600 M for ImageNet, and not the 45,000 M of CIFAR's stem.
    assert main(["cost", "darts", "DARTS_V2", "--input", "3x224x224", "--channels", "48", "--cells", "14"]) == 0
    assert "529.15 M multiply-adds" in capsys.readouterr().out


def test_a_published_architecture_is_trained_and_taken_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "darts", "DARTS_V2", "digits", "--epochs", "3", *FLAGS]
    run_epoch = Evaluation.run_epoch

    def killed(training: Evaluation) -> dict[str, float]:
        if training.epoch == 2:
            raise KeyboardInterrupt
        return run_epoch(training)

    with monkeypatch.context() as patched:
        patched.setattr(Evaluation, "run_epoch", killed)
        assert main(command) == 130
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.err.count("epoch 2 of 3: loss ") == 1
    assert "runs/train-darts-DARTS_V2-digits" in told.out
    run = nasray.open("runs/train-darts-DARTS_V2-digits")
    whole = nasray.train("DARTS_V2", "darts", "digits", epochs=3, **TINY)
    columns = ["architecture_id", "method", "accuracy", "test_accuracy", "epochs", "macs"]
    assert run.evaluations[columns].equals(whole.evaluations[columns])
    assert run.evaluations["method"].item() == "given"
    assert main(["export", "train-darts-DARTS_V2-digits", "best", "--out", "net.safetensors"]) == 0
    assert main([*command, "--seed", "1"]) == 2
    assert "holds another training, which differs in seed" in capsys.readouterr().err


def test_what_cannot_be_trained_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    refused: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        (("DARTS_V2",), {}, "^No space of the architecture: give its name"),
        (("DARTS_V2", "darts"), {}, "^No dataset of the architecture: give its name"),
        (({"space": "darts"},), {}, "^This row has no architecture"),
        (
            (["DARTS_V1", "DARTS_V2"], "darts", "digits"),
            {"population": 4},
            "^2 architectures: one is trained, also as a",
        ),
        (("DARTS_V9", "darts", "digits"), {}, "^architecture 'DARTS_V9': expected DARTS_V1"),
        (("DARTS_V2", "darts", "digits"), {"epoch": 3}, "unknown setting 'epoch': did you mean 'epochs'"),
        (("DARTS_V2", "darts", "digits"), {"augmentation": "sepia"}, "Give --augmentation standard"),
        (("DARTS_V2", "darts", "digits"), {"budget": 1e-6}, "budget"),
        (("GOLD_s1", "gold", "digits"), {"cells": 5}, "cells"),
    ]
    for arguments, changes, said in refused:
        with pytest.raises(InvalidInput, match=said):
            nasray.train(*arguments, **{**TINY, **changes})
    assert not (tmp_path / "runs").exists()


def test_a_killed_search_goes_on_by_its_folder_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = nasray.search("random", "gold", "digits", out="whole", epochs=3, **TINY)
    run_epoch = Search.run_epoch

    def killed(search: Search) -> object:
        if search.epoch == 2:
            raise KeyboardInterrupt
        return run_epoch(search)

    with monkeypatch.context() as patched:
        patched.setattr(Search, "run_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            nasray.search("random", "gold", "digits", out="killed", epochs=3, **TINY)
    capsys.readouterr()
    assert main(["runs", "."]) == 0
    stopped, finished = (line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines())
    assert stopped[:3] == ["killed", "search", "stopped"]
    assert finished[:3] == ["whole", "search", "finished"]
    best = whole.best()
    assert finished[3].startswith("1 done  front of ")
    assert finished[3].endswith(f"accuracy {best['accuracy']:.4f} at {best['macs']:.4g} M")
    assert main(["resume", "killed"]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("epoch 3 of 3: ")
    assert "is finished" in told.out
    assert Path("killed/front.parquet").exists()
    columns = ["trial_id", "epoch", "architecture_id", "accuracy", "supernet_accuracy"]
    assert nasray.load("killed", "candidates")[columns].equals(whole.candidates[columns])
    assert nasray.resume("killed").front()["architecture_id"].tolist() == whole.front()["architecture_id"].tolist()

    for arguments, said in (
        (["killed", "--address", "127.0.0.1:1"], "it holds no sweep, and runs in this process. Leave it out."),
        (["nowhere"], "no run 'nowhere'"),
    ):
        assert main(["resume", *arguments]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(InvalidInput, match=r"^unknown field 'adress' of an execution: expected one of address"):
        nasray.resume("killed", adress="x")
    with pytest.raises(InvalidInput, match=r"^unknown field 'storage' of an execution"):
        nasray.resume("killed", storage="elsewhere")
    for content in ({}, {"search": {}}, {"training": {"space": 3}}, {"sweep": {"name": "killed"}}):
        Path("killed/run.json").write_text(json.dumps(content))
        with pytest.raises(InvalidInput) as refused:
            nasray.resume("killed")
        assert "\n" not in str(refused.value)
    # It hides none of the others.
    Path("killed/run.json").write_text("{")
    capsys.readouterr()
    assert main(["runs", "."]) == 0
    damaged, other = capsys.readouterr().out.splitlines()
    assert damaged.startswith("killed  run     damaged: ")
    assert other.split()[:3] == ["whole", "search", "finished"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nasray {nasray.__version__}\n"


def test_the_sizes_of_a_search_are_those_of_what_it_finds_and_of_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"epochs": 1, "train_examples": 64, "batch_size": 32, "auxiliary_weight": 0.0, "quiet": True}
    found = nasray.search("random", "gold", "digits", channels=2, cells=3, **given)
    best = found.best()
    assert (best["channels"], best["cells"]) == (2, 3)
    trained = nasray.train(best, drop_path=0.0, **given).evaluations
    assert trained["macs"].item() == best["macs"]
    with pytest.raises(InvalidInput, match=r"no network of space 'gold' is that small"):
        nasray.search("random", "gold", "digits", channels=2, cells=3, budget=1e-6, out="small", **given)
    assert not Path("small").exists()
    with pytest.raises(InvalidInput, match=r"^dataset 42: expected its name"):
        nasray.search("random", "gold", 42, **given)  # type: ignore[arg-type]


def test_images_that_change_between_two_calls_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"epochs": 1, "channels": 1, "cells": 3, "augmentation": "none", "auxiliary_weight": 0.0, "quiet": True}
    digests = []
    for count in (60, 90):
        draw(tmp_path / "imgs", count)
        found = nasray.search("random", "darts", "folder:imgs?size=8x8", out=f"run{count}", **given)
        digests.append(found.candidates["dataset_digest"].item())
    assert digests[0] != digests[1]
