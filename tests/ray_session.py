"""One small Ray for all tests of this folder."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from nasray.methods.random import Random
from nasray.sweeps import Arm, EvaluationSettings, Execution, Sweep, Training
from nasray.sweeps.run import Outcome, run_sweep

TINY = dict(
    batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=64, epochs=2
)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    import ray

    ray.init(
        address="local",
        num_cpus=1,  # one worker process a phase: starting them is what these tests wait for
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100 * 2**20,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Two searches of random architectures of two sizes, trained with two seeds; no trial takes a second."""
    return Sweep(
        name="tiny",
        dataset="digits",
        arms=(
            Arm(
                method="random",
                space="gold",
                settings=Random.Config(**TINY),
                param_space={"operations_per_node": (1, 4)},
            ),
        ),
        training=Training(settings=EvaluationSettings(**TINY, drop_path=0.0), within=1.0, seeds=(0, 1)),
        execution=Execution(storage=str(tmp_path_factory.mktemp("runs"))),
    )


@pytest.fixture(scope="session")
def tiny_run(ray_session: None, tiny_sweep: Sweep) -> Outcome:
    """The run of the tiny sweep, which several tests look at."""
    return run_sweep(tiny_sweep)


Kill = Callable[[list[str], dict[str, str], Callable[[], bool]], None]


@pytest.fixture
def run_and_kill() -> Kill:
    """Start a driver in an environment, and kill it once a condition holds."""

    def run(command: list[str], environment: dict[str, str], condition: Callable[[], bool]) -> None:
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        deadline = time.monotonic() + 400
        while driver.poll() is None and not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert driver.poll() is None
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()

    return run
