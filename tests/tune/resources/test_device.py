"""The kind of device of a run: settled when it begins, kept when it is resumed elsewhere."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from nasray import registry
from nasray.errors import InvalidInput
from nasray.sweeps import Sweep
from nasray.sweeps.changes import with_device, with_execution, with_training
from nasray.sweeps.run import Outcome, run_sweep
from nasray.tune.execution import Execution
from nasray.tune.resources import device
from nasray.tune.resources.device import check_gpus, pick_kind


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets this machine have a number of GPUs, and no Ray that is connected to."""

    def has(gpus: int) -> None:
        monkeypatch.setattr(device, "has_own_ray", lambda address: address is None)
        monkeypatch.setattr(device, "own_resources", lambda: {"CPU": 2, "GPU": gpus})

    return has


@pytest.mark.parametrize(
    ("gpus", "reserved", "kind"),
    [(0, 0.0, "cpu"), (0, "auto", "cpu"), (1, 0.0, "cpu"), (1, "auto", "cuda"), (1, 0.5, "cuda"), (2, 1.0, "cuda")],
)
def test_trials_compute_on_what_they_reserve(machine: Any, gpus: int, reserved: Any, kind: str) -> None:
    machine(gpus)
    with ExitStack() as session:
        assert pick_kind(Execution(gpus_per_trial=reserved), "run", session) == kind


def test_gpus_that_are_not_reserved_or_not_there_are_refused(machine: Any) -> None:
    machine(1)
    check_gpus(Execution(gpus_per_trial="auto"))
    with pytest.raises(InvalidInput, match=r"reserve none\. Give --gpus-per-trial"):
        check_gpus(Execution(gpus_per_trial=0))
    machine(0)
    with pytest.raises(InvalidInput, match=r"this machine has none\. Give the --address"):
        check_gpus(Execution(gpus_per_trial="auto"))
    check_gpus(Execution(gpus_per_trial="auto", address="head:6379"))


def test_only_what_is_left_open_is_settled() -> None:
    sweep: Sweep = registry.find("sweep", "all_methods_digits", Sweep)
    assert sweep.devices == {"auto"}
    settled = with_device(with_training(sweep, device="cpu"), "cuda")
    assert {arm.settings.device for arm in settled.search_arms} == {"cuda"}
    assert settled.training.settings.device == "cpu"


def test_a_run_keeps_its_kind_where_it_is_resumed(
    tiny_sweep: Sweep, tiny_run: Outcome, tmp_path: Path, machine: Any
) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / tiny_sweep.name)
    sweep = with_execution(tiny_sweep, storage=str(tmp_path))
    file = tmp_path / sweep.name / "run.json"
    begun = json.loads(file.read_text())
    assert begun["device"] == "cpu"
    # With GPUs at hand it is the same run still, and nothing of it runs again.
    machine(1)
    again = run_sweep(with_execution(sweep, gpus_per_trial="auto"))
    assert again.front.equals(tiny_run.front)
    # One that began on GPUs is no other run on a machine without: it is refused, and its folder stays as it is.
    machine(0)
    text = json.dumps({**{name: value for name, value in begun.items() if name != "ended"}, "device": "cuda"})
    file.write_text(text)
    with pytest.raises(InvalidInput, match="device cuda"):
        run_sweep(sweep)
    assert file.read_text() == text
