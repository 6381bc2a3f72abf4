"""One search: method x space x dataset to candidates. Plain torch, no Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch

from nasray.costs import Budget, cost_table, expected_macs, macs, params
from nasray.costs.counting import count_params
from nasray.errors import InvalidInput
from nasray.gates import Gates, architecture_masks, binary_gates
from nasray.methods.method import Problem, SearchMethod
from nasray.networks import Network, supernet
from nasray.networks.affine import absorb, train_affine
from nasray.spaces import Architecture, NetworkSize, Normalisation
from nasray.training.batch_check import check_batch
from nasray.training.batches import DeviceData, epoch_generator, num_batches
from nasray.training.computing import computing
from nasray.training.dataset import Dataset, load_dataset
from nasray.training.learner import NetworkLearner, accuracy_of, recalibrate
from nasray.training.measure import peak_memory_bytes, pick_device, reset_peak_memory
from nasray.training.replay import Replay
from nasray.training.splits import splits_of
from nasray.training.tasks import task_of
from nasray.trials.search_config import SearchConfig, sizes

RECALIBRATION_BATCHES = 10
"""Training batches on which statistics are measured: so many, or a quarter of an epoch's where those are fewer."""
VALIDATION_BATCH_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An architecture that a search gave at one moment."""

    architecture: Architecture
    snapshot: int
    """Its number among those of one epoch."""
    size: NetworkSize
    """At which it would be evaluated."""
    macs: float
    """M, at this size."""
    params: float
    """M, at this size."""
    supernet_accuracy: float
    """Accuracy of the supernet under the method's gates, on the validation split."""
    accuracy: float
    """Accuracy of the architecture with the supernet's weights, on the validation split."""

    @property
    def gap(self) -> float:
        """The discretisation gap."""
        return self.supernet_accuracy - self.accuracy


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch gave."""

    number: int
    """Counted from 1: epochs done."""
    metrics: dict[str, float]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """The target network that a search of one stage ends with: an evaluation without a training from scratch."""

    network: Network
    """Without gates and auxiliary head, on the device of the search."""
    architecture: Architecture
    size: NetworkSize
    normalisation: Normalisation
    """Where its cells normalise, which need not be where the space's evaluations do."""
    epochs: int
    """The fidelity: those in which its architecture stood."""
    macs: float
    """M, at its own size."""
    params: float
    """M, with the normalisations that it has beyond the space's own."""
    accuracy: float
    """On the validation split."""
    test_accuracy: float
    """On the test split: for the report only, nothing may be chosen by it."""


class Search:
    """A search that is run epoch by epoch, saved and restored between epochs.

    Every random number is drawn from the seed and the number of the epoch, so that the state at the end of an epoch
    is all that the next one depends on. The caller's random state is left alone.

    Args:
        config: what to search.
        dataset: in place of loading the config's.
        device: one of torch's, in place of the kind that the settings say.

    Raises:
        InvalidInput: the dataset cannot be found, or is of another task than the space.
    """

    def __init__(self, config: SearchConfig, dataset: Dataset | None = None, device: str | None = None) -> None:
        self.config = config
        self.device = pick_device(device or config.settings.device)
        self.space = config.cell_space
        dataset = dataset or load_dataset(config.dataset, config.data_root)
        self.task = task_of(self.space, dataset)
        check_batch(dataset, [config.settings.augmentation], parts=("train",), device=self.device)
        method_class = config.method_class
        settings = config.settings
        self.data = DeviceData(dataset, self.device)
        self.splits = splits_of(dataset, settings, method_class.architecture_fraction)
        self.size, self.evaluation_size = sizes(config, self.space, dataset)
        cost_table(self.space, self.evaluation_size)  # refuses what cannot be counted, before anything is trained
        with self._random("init", 0):
            self.method: SearchMethod = method_class(
                settings, Problem(self.space, self.size, self.evaluation_size, config.seed, config.budget)
            )
            network = supernet(self.space, self.size, settings.auxiliary_weight > 0, self.method.needs)
        network.to(self.device)
        self.method.to(self.device)
        self.learner = NetworkLearner(network, self.task, settings)
        self._replays = self.device.type == "cuda" and settings.cuda_graphs and self.method.replayable
        for group in self.method.optimizer.param_groups if self._replays and self.method.optimizer is not None else ():
            group["capturable"] = True
        self.epoch = 0
        """Epochs done."""
        self.finished = False
        self.seconds = 0.0
        """Spent so far, over all epochs."""
        self.peak_memory_bytes = 0

    def run_epoch(self) -> Epoch:
        """One epoch of search, then the accuracy of the supernet and of the candidates that it gave.

        Raises:
            NonFiniteLoss: a loss was infinite or not a number.
        """
        if self.finished:
            raise RuntimeError("the search is finished")
        began = time.perf_counter()
        reset_peak_memory(self.device)
        number = self.epoch
        with computing(self.config.settings), self._random("steps", number):
            self.learner.start_epoch(*self.method.schedule_epoch(number))
            self.method.start_epoch(number)
            if (trainable := self.method.trainable_affine()) is not None:
                train_affine(self.learner.network, trainable)
            examples = self._steps(number)
            loss, accuracy = self.learner.finish_epoch()
            train_seconds = time.perf_counter() - began
            outcome = self.method.end_epoch(number)
            supernet_accuracy = self._supernet_accuracy()
            self.epoch = number + 1
            self.finished = outcome.finished or self.epoch >= self.config.settings.epochs
            given = list(outcome.architectures)
            current = self.method.architecture()
            if self.finished and current not in given:
                given.append(current)
            candidates = tuple(self._candidate(a, i, supernet_accuracy) for i, a in enumerate(given))
            with torch.no_grad():
                gates = self.method.gates()
                active = sum(int(one.active_EO.sum()) for one in gates)
                expected = self._expected_macs(gates)
        seconds = time.perf_counter() - began
        self.seconds += seconds
        self.peak_memory_bytes = max(self.peak_memory_bytes, peak_memory_bytes(self.device))
        metrics = {
            "loss": loss,
            "train_accuracy": accuracy,
            "supernet_accuracy": supernet_accuracy,
            "macs": macs(self.space, current, self._size_of(current)),
            "expected_macs": expected,
            "active_operations": float(active),
            "learning_rate": self.learner.learning_rate,
            "train_seconds": train_seconds,
            "examples_per_second": examples / train_seconds,
            "seconds": seconds,
            "peak_memory_bytes": float(self.peak_memory_bytes),
            **({"gap": candidates[-1].gap} if candidates else {}),
            **self.method.metrics(),
        }
        return Epoch(number=self.epoch, metrics=metrics, candidates=candidates)

    def trained_network(self) -> TrainedNetwork | None:
        """What a finished search trained to the end; None where its architectures are trained from scratch."""
        epochs = self.method.trained_epochs(self.config.settings)
        if not self.finished or not epochs:
            return None
        with torch.no_grad():
            gates = self.method.gates()
        normalisation = self.method.needs.normalisation or self.space.search_normalisation
        network = absorb(self.learner.network, self.space, self.size, gates, normalisation)
        validation = self.data.batches(self.splits.validation, VALIDATION_BATCH_SIZE)
        architecture = self.method.architecture()
        with computing(self.config.settings):
            accuracy = accuracy_of(network, self.task, validation)
            test_accuracy = accuracy_of(network, self.task, self.data.test_batches(VALIDATION_BATCH_SIZE))
        return TrainedNetwork(
            network=network,
            architecture=architecture,
            size=self.size,
            normalisation=normalisation,
            epochs=epochs,
            macs=macs(self.space, architecture, self.size),
            params=count_params(network) / 1e6,
            accuracy=accuracy,
            test_accuracy=test_accuracy,
        )

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on, as tensors and plain values."""
        optimizer = self.method.optimizer
        return {
            "epoch": self.epoch,
            "finished": self.finished,
            "seconds": self.seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
            "learner": self.learner.state_dict(),
            "method": self.method.state_dict(),
            "method_optimizer": None if optimizer is None else optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` of a search with the same config gave."""
        self.epoch, self.finished = state["epoch"], state["finished"]
        self.seconds, self.peak_memory_bytes = state["seconds"], state["peak_memory_bytes"]
        self.learner.load_state_dict(state["learner"])
        self.method.load_state_dict(state["method"])
        if self.method.optimizer is not None:
            self.method.optimizer.load_state_dict(state["method_optimizer"])

    def _steps(self, number: int) -> int:
        """All steps of an epoch; gives the number of examples that the weights were trained on."""
        batches = self._batches("train", number)
        architecture_batches = self._endless("architecture", number) if len(self.splits.architecture) else None
        step = Replay(partial(self.method.step, self.learner), enabled=self._replays)
        examples = 0
        for batch in batches:
            step(batch, None if architecture_batches is None else next(architecture_batches))
            examples += len(batch[1])
        return examples

    def _batches(self, part: str, number: int, repeat: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        stream = f"{part} {repeat}" if repeat else part
        return self.data.batches(
            getattr(self.splits, part),
            self.config.settings.batch_size,
            augmentation=self.config.settings.augmentation,
            generator=epoch_generator(self.config.seed, number, stream, self.device),
            shuffle=True,
            drop_last=True,
        )

    def _endless(self, part: str, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        # Where it is the smaller part, it is gone through again in another order.
        repeat = 0
        while True:
            yield from self._batches(part, number, repeat)
            repeat += 1

    def _supernet_accuracy(self) -> float:
        with torch.no_grad():
            gates = self.method.gates()
        if self.method.trained_epochs(self.config.settings):
            # It becomes the network that is handed out, statistics included.
            batches = self.data.batches(self.splits.validation, VALIDATION_BATCH_SIZE)
            return self.learner.accuracy(batches, gates)
        return self._accuracy_with(gates)

    def _candidate(self, architecture: Architecture, snapshot: int, supernet_accuracy: float) -> Candidate:
        is_network = self.method.trained_epochs(self.config.settings) > 0
        size = self._size_of(architecture)
        return Candidate(
            architecture=architecture,
            snapshot=snapshot,
            size=size,
            macs=macs(self.space, architecture, size),
            params=params(self.space, architecture, size),
            supernet_accuracy=supernet_accuracy,
            accuracy=supernet_accuracy if is_network else self._inherited_accuracy(architecture),
        )

    def _size_of(self, architecture: Architecture) -> NetworkSize:
        """At which an architecture would be evaluated."""
        size, budget = self.evaluation_size, self.config.evaluation_width_budget
        if budget is None:
            return size
        try:
            return Budget(budget).widest(self.space, architecture, size)
        except InvalidInput:
            return size.replace(channels=1)  # more than the budget already: its evaluation will be refused

    def _expected_macs(self, gates: Sequence[Gates]) -> float:
        """Expected multiply-adds of gates, in M at the evaluation size.

        Each gate is the share, cut to 0 and 1, to which its operation counts.
        Positions that share a cell count by their mean, for the evaluation size has another number of them.
        """
        of_cell: dict[str, list[Gates]] = {}
        for name, one in zip(self.space.layout(self.size.cells), gates, strict=True):
            of_cell.setdefault(name, []).append(one)
        mean = {
            name: Gates(torch.stack([one.values_EO for one in same]).clamp(0.0, 1.0).mean(dim=0), same[0].active_EO)
            for name, same in of_cell.items()
        }
        layout = self.space.layout(self.evaluation_size.cells)
        return float(expected_macs(self.space, [mean[name] for name in layout], self.evaluation_size))

    def _inherited_accuracy(self, architecture: Architecture) -> float:
        """Accuracy of an architecture with the supernet's weights; its operations are summed plainly."""
        masks = architecture_masks(self.space, architecture, self.size.cells)
        return self._accuracy_with(binary_gates(masks, self.device))

    def _accuracy_with(self, gates: Sequence[Gates]) -> float:
        """Validation accuracy of the supernet's weights under some gates.

        Running statistics follow the weights and gates of many steps, and fit none of them: they are measured anew on
        a few training batches (our choice, as in G. Bender et al., ICML 2018), and put back afterwards. So a supernet
        and what is derived from it are measured alike, and where they are the same network there is no gap.
        """
        network = self.learner.network
        kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
        dropped, network.drop_path = network.drop_path, 0.0
        batch_size = self.config.settings.batch_size
        batches = self.data.batches(self.splits.train, batch_size, drop_last=True)
        quarter = max(2, num_batches(len(self.splits.train), batch_size, drop_last=True) // 4)
        recalibrate(network, islice(batches, min(RECALIBRATION_BATCHES, quarter)), gates)
        accuracy = self.learner.accuracy(self.data.batches(self.splits.validation, VALIDATION_BATCH_SIZE), gates)
        for name, buffer in network.named_buffers():
            buffer.copy_(kept[name])
        network.drop_path = dropped
        return accuracy

    @contextmanager
    def _random(self, stream: str, number: int) -> Iterator[None]:
        """Torch's global random state as a function of seed, stream and epoch; the caller's is put back."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(epoch_generator(self.config.seed, number, stream).initial_seed())
            yield
