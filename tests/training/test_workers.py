"""Two processes that train a network together do what one does on the whole batch, up to rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import nn

from nasray import registry
from nasray.spaces import CellSpace, from_genotype
from nasray.training.workers import Workers
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings


def config(**changes: Any) -> EvaluationConfig:
    space: CellSpace = registry.find("space", "darts")
    settings = dict(
        epochs=2, batch_size=25, channels=4, cells=3, train_examples=200, drop_path=0.0, augmentation="standard"
    )
    return EvaluationConfig(
        space="darts",
        dataset="digits",
        architecture=from_genotype(space, space.references["DARTS_V2"].genotype),
        settings=EvaluationSettings(**{**settings, **changes}),
    )


def trained(workers: Workers | None, *, normalise: bool) -> dict[str, Any]:
    """Weights and figures after two epochs; without normalisation an example does not depend on those beside it.

    Without it rounding grows from step to step, so there are but two of them.
    """
    torch.set_num_threads(1)
    evaluation = Evaluation(config(train_examples=200 if normalise else 25), device="cpu", workers=workers)
    if not normalise:
        for module in evaluation.learner.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
                module.train = lambda mode=True, module=module: module  # type: ignore[assignment]
    metrics = [evaluation.run_epoch() for _ in range(2)]
    return {
        "weights": evaluation.learner.network.state_dict(),
        "figures": [[one["loss"], one["train_accuracy"], one["accuracy"]] for one in metrics],
        "test": evaluation.test_accuracy(),
    }


def _process(rank: int, folder: str, normalise: bool) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(trained(Workers(rank, 2), normalise=normalise), Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


def by_two(folder: Path, *, normalise: bool) -> list[dict[str, Any]]:
    torch.multiprocessing.spawn(_process, (str(folder), normalise), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
def test_two_workers_make_the_steps_of_one(tmp_path: Path):
    one, (first, second) = trained(None, normalise=False), by_two(tmp_path, normalise=False)
    # 25 examples: parts of 13 and 12, which weigh as much as they have examples.
    torch.testing.assert_close(first["weights"], one["weights"], rtol=1e-4, atol=1e-5)
    for mine, its in zip(first["figures"], one["figures"], strict=True):
        assert mine == pytest.approx(its, abs=1e-4)
    assert first["test"] == pytest.approx(one["test"], abs=0.01)
    torch.testing.assert_close(first["weights"], second["weights"], rtol=0, atol=0)


@pytest.mark.slow
def test_statistics_of_parts_are_averaged(tmp_path: Path):
    one, (first, second) = trained(None, normalise=True), by_two(tmp_path, normalise=True)
    torch.testing.assert_close(first["weights"], second["weights"], rtol=0, atol=0)
    names = [name for name in one["weights"] if name.endswith("running_mean")]
    assert any(not torch.equal(first["weights"][name], one["weights"][name]) for name in names)
    assert first["figures"][-1][0] == pytest.approx(one["figures"][-1][0], rel=0.2)
