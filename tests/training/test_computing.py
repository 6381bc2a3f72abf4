from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from threadpoolctl import threadpool_info

from nasray.methods.darts import DARTS
from nasray.training.computing import computing
from nasray.trials.differing import differing_in
from nasray.trials.evaluation import EvaluationSettings
from nasray.trials.identity import identity
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig


def state() -> tuple[int, bool, bool, list[int]]:
    native = [pool["num_threads"] for pool in threadpool_info()]
    return torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, native


@pytest.mark.parametrize("precision", ["tf32", "float32"])
def test_threads_and_precision_hold_inside_and_are_put_back(precision: str):
    before = state()
    with computing(EvaluationSettings(threads=2, precision=precision)):  # type: ignore[arg-type]
        threads, *rounded, native = state()
        assert (threads, set(native)) == (2, {2})
        assert rounded == [precision == "tf32"] * 2
        # Where a trial raises an error too.
        with pytest.raises(ZeroDivisionError), computing(EvaluationSettings(threads=3)):
            _ = 1 / (torch.get_num_threads() - 3)
        assert torch.get_num_threads() == 2
    assert state() == before


def search(threads: int) -> SearchConfig:
    settings = DARTS.Config(epochs=1, train_examples=64, channels=16, cells=3, threads=threads)
    return SearchConfig(method="darts", space="darts", dataset="digits", settings=settings)


def test_threads_are_those_of_the_settings_whatever_the_process_has():
    found = []
    for outside in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(outside)
        try:
            one = Search(search(1), device="cpu")
            one.learner.network.register_forward_pre_hook(lambda *_: found.append(torch.get_num_threads()))
            one.run_epoch()
            assert torch.get_num_threads() == outside
        finally:
            torch.set_num_threads(before)
    assert set(found) == {1}
    assert differing_in(identity(search(1)), identity(search(2))) == ["threads (the run has 2, this command 1)"]


def test_threadpoolctl_is_not_needed():
    script = """
import sys
sys.modules["threadpoolctl"] = None
import torch
from nasray.training.computing import computing
from nasray.settings import TrainingSettings
torch.set_num_threads(1)
with computing(TrainingSettings(threads=2)):
    assert torch.get_num_threads() == 2
assert torch.get_num_threads() == 1
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
