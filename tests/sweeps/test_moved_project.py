"""A sweep over a user's own code and data: the project may move, what it holds may not change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import nasray
from nasray.errors import InvalidInput
from nasray.methods.random import Random
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.run import run_sweep
from tests.trials.test_identity import DATASET, SPACE, edited

pytestmark = pytest.mark.usefixtures("ray_session")


def sweep(project: Path, storage: Path) -> Sweep:
    return Sweep(
        name="own",
        dataset=f"{project}/my_dataset.py:stripes",
        arms=(
            Arm(method="random", space=f"{project}/my_space.py:SMALL", settings=Random.Config(epochs=1, batch_size=8)),
        ),
        training=Training(
            settings=EvaluationSettings(epochs=1, batch_size=8, augmentation="none", auxiliary_weight=0.0),
            select="nothing",
        ),
        execution=Execution(storage=str(storage)),
    )


@pytest.mark.slow
def test_a_moved_project_is_the_same_run_and_edited_labels_are_another(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "my_dataset.py").write_text(DATASET)
    (project / "my_space.py").write_text(SPACE)  # imports my_names from beside it, in Ray's workers too
    (project / "my_names.py").write_text("OPERATIONS = ('skip_connect', 'avg_pool_3x3')\n")
    outcome = run_sweep(sweep(project, tmp_path))
    assert outcome.failures == ()
    before = nasray.load(outcome.folder, "candidates")
    assert set(before["space"]) == {"my_space.py:SMALL"}
    assert before["dataset_digest"].nunique() == before["code_digest"].nunique() == 1

    moved = shutil.copytree(project, tmp_path / "elsewhere" / "moved")
    again = run_sweep(sweep(moved, tmp_path))
    assert list(nasray.load(again.folder, "candidates")["created_at"]) == list(before["created_at"])

    permuted = edited(project, tmp_path / "permuted", "my_dataset.py", "% 2\n", "% 2\n    y = y.flip(0)\n")
    with pytest.raises(InvalidInput, match=r"another sweep, which differs in .*the dataset's content"):
        run_sweep(sweep(permuted, tmp_path))
