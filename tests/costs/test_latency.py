from __future__ import annotations

import statistics
from itertools import count

import numpy as np
import pytest
import torch

from nasray.costs import Repeats, architecture_latency, network_latency
from nasray.costs.latency import repeated
from nasray.errors import InvalidInput
from nasray.networks import Network, target_network
from nasray.spaces import NetworkSize, from_genotype, from_string
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.nas_bench_201 import NAS_BENCH_201

CONVOLUTIONS = from_string(
    NAS_BENCH_201, "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|"
)
SMALL = NetworkSize(channels=4, cells=3, input_shape=(3, 8, 8), classes=10)
ONCE = Repeats(warm_up_runs=1, warm_up_seconds=0.0, least_runs=1, least_seconds=0.0)


@pytest.fixture
def network() -> Network:
    return target_network(NAS_BENCH_201, CONVOLUTIONS, SMALL)


class Script:
    """A clock that is read before and after each run, which takes what is written here (ms)."""

    def __init__(self, durations: list[float]) -> None:
        self.durations = iter(durations)
        self.now, self.running = 0.0, False

    def __call__(self) -> float:
        if self.running:
            self.now += next(self.durations) / 1e3
        self.running = not self.running
        return self.now


def test_median_and_quartiles_are_those_of_the_runs_after_the_warm_up(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    durations = np.random.default_rng(0).lognormal(1.0, 1.0, 40).tolist()
    monkeypatch.setattr("nasray.costs.latency.perf_counter", Script([1e4, 2e4, 3e4, *durations]))
    calls = []
    network.register_forward_hook(lambda *_: calls.append(torch.is_inference_mode_enabled()))
    repeats = Repeats(warm_up_runs=3, warm_up_seconds=0.1, least_runs=40, least_seconds=0.0, most_seconds=1e9)
    measured = network_latency(network, SMALL.input_shape, repeats=repeats)
    assert calls == [True] * 43
    low, median, high = statistics.quantiles(durations, n=4, method="inclusive")
    assert measured.median_ms == pytest.approx(median, rel=1e-9)
    assert (measured.low_ms, measured.high_ms) == pytest.approx((low, high), rel=1e-9)
    assert (measured.repeats, measured.batch) == (40, 1)


@pytest.mark.parametrize(
    ("milliseconds", "warm_up", "timed"),
    [
        (1.0, 300, 1000),  # so many runs make the warm-up's seconds, and no more than most_runs are timed
        (10.0, 30, 150),  # so many make its seconds, and 1.5 s
        (100.0, 5, 20),  # least_runs
        (4000.0, 5, 8),  # half a minute is over
        (60_000.0, 1, 1),
    ],
)
def test_runs_are_bounded_from_below_and_above(milliseconds: float, warm_up: int, timed: int) -> None:
    runs = count()

    def run() -> float:
        next(runs)
        return milliseconds

    assert repeated(run, Repeats()) == [milliseconds] * timed
    assert next(runs) == warm_up + timed


def test_five_times_the_cells_take_longer() -> None:
    size = NetworkSize(channels=16, cells=6, input_shape=(3, 16, 16), classes=10)
    repeats = Repeats(warm_up_runs=2, warm_up_seconds=0.0, least_runs=5, least_seconds=0.1)

    def measured(cells: int) -> float:
        sized = size.replace(cells=cells)
        return architecture_latency(NAS_BENCH_201, CONVOLUTIONS, sized, threads=1, repeats=repeats).low_ms

    # In turn, and the quickest of each: other work on the machine slows now the one, now the other.
    few, many = (min(times) for times in zip(*((measured(3), measured(15)) for _ in range(10)), strict=True))
    assert many > 2.6 * few  # twice the cells: 1.4 times, by the same share of what is added


def test_threads_mode_and_random_state_are_as_before(network: Network) -> None:
    before, seen = torch.get_num_threads(), []
    network.register_forward_hook(lambda module, *_: seen.append((torch.get_num_threads(), module.training)))
    assert network.training
    measured = network_latency(network, SMALL.input_shape, batch=3, threads=before + 1, repeats=ONCE)
    assert (measured.threads, measured.batch) == (before + 1, 3)
    assert set(seen) == {(before + 1, False)}
    assert (torch.get_num_threads(), network.training) == (before, True)
    network.eval()
    assert network_latency(network, SMALL.input_shape, repeats=ONCE).threads == before
    assert not network.training

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    network.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        network_latency(network.train(), SMALL.input_shape, threads=before + 1, repeats=ONCE)
    assert (torch.get_num_threads(), network.training) == (before, True)

    state = torch.get_rng_state()
    architecture_latency(NAS_BENCH_201, CONVOLUTIONS, SMALL, repeats=ONCE)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_batch_goes_through_in_channels_last_and_leaves_no_trace(network: Network) -> None:
    shapes = []
    network.register_forward_pre_hook(
        lambda _, given: shapes.append(
            (tuple(given[0].shape), given[0].is_contiguous(memory_format=torch.channels_last))
        )
    )
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    network_latency(network, SMALL.input_shape, batch=5, repeats=ONCE)
    assert set(shapes) == {((5, 3, 8, 8), True)}
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_what_cannot_be_measured_is_named(network: Network) -> None:
    for wrong in ({"batch": 0}, {"threads": 0}, {"threads": -1}):
        with pytest.raises(InvalidInput, match=r"of a latency: expected a whole number from 1 up"):
            network_latency(network, SMALL.input_shape, **wrong)


@pytest.mark.parametrize("device", ["meta", "mps", "abacus"])
def test_only_what_runs_is_timed(device: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^device '{device}' of a latency: it is measured on cpu"):
        architecture_latency(NAS_BENCH_201, CONVOLUTIONS, SMALL, device=device)
    with pytest.raises(InvalidInput, match=r"^device 'meta' of a latency: it is measured on cpu"), torch.device("meta"):
        network_latency(target_network(NAS_BENCH_201, CONVOLUTIONS, SMALL), SMALL.input_shape)


@pytest.mark.gpu
def test_a_gpu_is_timed_by_its_own_clock() -> None:
    architecture = from_genotype(DARTS, DARTS.references["DARTS_V2"].genotype)
    size = NetworkSize(channels=36, cells=20, input_shape=(3, 32, 32), classes=10)
    few, many = (
        architecture_latency(DARTS, architecture, size, batch=batch, device="cuda", repeats=Repeats(least_seconds=0.3))
        for batch in (128, 1024)  # of fewer a large GPU only takes the time that their kernels take to be launched
    )
    assert few.device == torch.cuda.get_device_name()
    assert many.low_ms > 2 * few.high_ms
