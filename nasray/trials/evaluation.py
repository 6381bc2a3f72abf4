"""One training from scratch: architecture x size x dataset to accuracy. Plain torch, no Ray."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch

from nasray import registry
from nasray.costs import Budget, Latency, macs, network_latency, params
from nasray.errors import InvalidInput
from nasray.networks import Batch, target_network
from nasray.settings import TrainingSettings, check_seed, setting
from nasray.spaces import Architecture, CellSpace, NetworkSize
from nasray.training.batch_check import check_batch
from nasray.training.batches import WHOLE, DeviceData, epoch_generator
from nasray.training.computing import computing
from nasray.training.dataset import Dataset, load_dataset
from nasray.training.learner import NetworkLearner
from nasray.training.measure import device_name, peak_memory_bytes, pick_device, reset_peak_memory
from nasray.training.replay import Replay
from nasray.training.splits import splits_of
from nasray.training.tasks import task_of
from nasray.training.workers import Workers

VALIDATION_BATCH_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(TrainingSettings):
    """How architectures are trained from scratch. Defaults: DARTS on CIFAR-10 (methods.md 0.5)."""

    epochs: int = setting(600, low=1)
    """Epochs of the training: its fidelity."""
    batch_size: int = setting(96, low=2)
    learning_rate_min: float = setting(0.0, low=0.0)
    auxiliary_weight: float = setting(0.4, low=0.0)
    drop_path: float = setting(0.2, low=0.0, high=0.99)
    augmentation: str = "cutout"
    width_budget: float | None = setting(None, low=0.0, unit="M")
    """Multiply-adds (M): every architecture is trained at the largest number of channels that obeys it, in place of
    ``channels``. The width multiplier with which DSO-NAS meets a budget."""
    latency_batch: int | None = setting(None, low=1)
    """Examples at once at which the trained network's latency is measured, on the device and the threads of the
    evaluation; None measures none."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """All that an evaluation depends on.

    Raises:
        InvalidInput: there is no such space or dataset, or the architecture is of another space.
    """

    space: str
    dataset: str
    architecture: Architecture
    settings: EvaluationSettings
    seed: int = 0
    budget: float | None = None
    """Largest multiply-adds (M): a network that exceeds it is made narrower."""
    data_root: str | None = None

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        object.__setattr__(self, "data_root", registry.absolute_path(self.data_root))
        for kind in ("space", "dataset"):
            object.__setattr__(self, kind, registry.absolute(getattr(self, kind)))
        # Of a table the dataset is a name only: it is looked for where it is loaded.
        if self.architecture.space != self.cell_space.name:
            raise InvalidInput(
                f"architecture of space {self.architecture.space!r}: expected space {self.cell_space.name!r}"
            )

    @property
    def cell_space(self) -> CellSpace:
        """The search space behind the name."""
        found: CellSpace = registry.find("space", self.space, CellSpace)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; the architecture is text, its own canonical JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**values, "architecture": self.architecture.to_json(), "settings": self.settings.to_dict()}

    @classmethod
    def of(cls, values: dict[str, Any]) -> EvaluationConfig:
        """A config from what :meth:`to_dict` gave.

        Raises:
            InvalidInput: an unknown setting, a value that is not accepted, or no architecture of the space.
        """
        space: CellSpace = registry.find("space", values["space"], CellSpace)
        architecture = Architecture.from_json(space, values["architecture"])
        return cls(**{**values, "architecture": architecture, "settings": EvaluationSettings.of(values["settings"])})


class Evaluation:
    """A training from scratch, run epoch by epoch, saved and restored between epochs.

    Trains on everything but the validation split; the test split is only reported.

    Args:
        config: what to train.
        dataset: in place of loading the config's.
        device: one of torch's, in place of the kind that the settings say.
        workers: the processes that train it together, this one among them; each calls the same methods. None is this
            one alone.

    Raises:
        InvalidInput: the dataset is not available, or no width obeys the budget.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        dataset: Dataset | None = None,
        device: str | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.config = config
        self.device = pick_device(device or config.settings.device)
        self.space = config.cell_space
        self.architecture = config.architecture
        dataset = dataset or load_dataset(config.dataset, config.data_root)
        settings = config.settings
        task = task_of(self.space, dataset)
        check_batch(dataset, [settings.augmentation], device=self.device)
        self.size = evaluation_size(self.space, self.architecture, settings, dataset, config.budget)
        self.macs = macs(self.space, self.architecture, self.size)
        """M."""
        self.params = params(self.space, self.architecture, self.size)
        """M."""
        self.data = DeviceData(dataset, self.device)
        self.splits = splits_of(dataset, settings, 0.0)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(epoch_generator(config.seed, 0, "init").initial_seed())
            network = target_network(self.space, self.architecture, self.size, settings.auxiliary_weight > 0)
        network.to(self.device)
        if workers is not None:
            workers.share_normalisations(network)
        self.learner = NetworkLearner(network, task, settings, workers)
        self._part = WHOLE if workers is None else workers.part
        self.epoch = 0
        """Epochs done."""
        self.seconds = 0.0
        """Spent training and validating, over all epochs."""
        self.peak_memory_bytes = 0
        self.accuracy = 0.0
        """On the validation split, after the last epoch."""

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.config.settings.epochs

    def run_epoch(self) -> dict[str, float]:
        """One epoch of training, then the accuracy on the validation split.

        Raises:
            NonFiniteLoss: a loss was infinite or not a number.
        """
        if self.finished:
            raise RuntimeError("the evaluation is finished")
        began = time.perf_counter()
        reset_peak_memory(self.device)
        seed, number, settings, workers = self.config.seed, self.epoch, self.config.settings, self.learner.workers
        self.learner.start_epoch(number)
        with computing(settings), torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            # Drop path and dropout: each worker has its own examples, and draws of its own for them.
            stream = "steps" if workers is None or workers.rank == 0 else f"steps {workers.rank}"
            torch.manual_seed(epoch_generator(seed, number, stream).initial_seed())
            examples = 0
            batches = self.data.batches(
                self.splits.train,
                settings.batch_size,
                augmentation=settings.augmentation,
                generator=epoch_generator(seed, number, "train", self.device),
                shuffle=True,
                drop_last=True,
                part=self._part,
            )
            whole = min(settings.batch_size, len(self.splits.train))
            replays = workers is None and self.device.type == "cuda" and settings.cuda_graphs
            step = Replay(partial(self._step, of=whole), enabled=replays)
            for batch in batches:
                step(batch)
                examples += whole
            loss, train_accuracy = self.learner.finish_epoch()
            train_seconds = time.perf_counter() - began
            validation = self.data.batches(self.splits.validation, VALIDATION_BATCH_SIZE, part=self._part)
            self.accuracy = self.learner.accuracy(validation)
        self.epoch += 1
        seconds = time.perf_counter() - began
        self.seconds += seconds
        self.peak_memory_bytes = max(self.peak_memory_bytes, peak_memory_bytes(self.device))
        return {
            "loss": loss,
            "train_accuracy": train_accuracy,
            "accuracy": self.accuracy,
            "learning_rate": self.learner.learning_rate,
            "examples_per_second": examples / train_seconds,
            "seconds": seconds,
            "peak_memory_bytes": float(self.peak_memory_bytes),
        }

    def _step(self, batch: Batch, of: int) -> None:
        """A step by examples of which a whole batch has so many: what they weigh in the sum over all workers."""
        loss = self.learner.loss(batch)
        torch.autograd.backward(loss if len(batch[1]) == of else loss * (len(batch[1]) / of))
        self.learner.update()

    @property
    def hardware(self) -> str:
        """What it is trained on."""
        return device_name(self.device, self.config.settings.threads)

    def test_accuracy(self) -> float:
        """Accuracy on the test split: for the report only, nothing may be chosen by it."""
        with computing(self.config.settings):
            return self.learner.accuracy(self.data.test_batches(VALIDATION_BATCH_SIZE, self._part))

    def latency(self) -> Latency | None:
        """Latency of the network as it is now, measured anew at each call; None where the settings ask for none."""
        batch = self.config.settings.latency_batch
        if batch is None:
            return None
        with computing(self.config.settings):
            return network_latency(self.learner.network, self.size.input_shape, batch=batch)

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on, as tensors and plain values."""
        return {
            "epoch": self.epoch,
            "accuracy": self.accuracy,
            "seconds": self.seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
            "learner": self.learner.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` of an evaluation with the same config gave."""
        self.epoch, self.accuracy, self.seconds = state["epoch"], state["accuracy"], state["seconds"]
        self.peak_memory_bytes = state["peak_memory_bytes"]
        self.learner.load_state_dict(state["learner"])


def evaluation_size(
    space: CellSpace,
    architecture: Architecture,
    settings: EvaluationSettings,
    dataset: Dataset,
    budget: float | None = None,
) -> NetworkSize:
    """The size at which an architecture is trained from scratch: narrower than its settings say where it would exceed
    the budget (multiply-adds, M).

    Raises:
        InvalidInput: a budget that one channel exceeds.
    """
    own_cells = len(architecture.cells) if space.cell_per_position else space.evaluation_cells
    size = NetworkSize(
        channels=settings.channels or space.evaluation_channels,
        cells=settings.cells or own_cells,
        input_shape=dataset.input_shape,
        classes=dataset.classes,
        skeleton=settings.skeleton,
    )
    if settings.width_budget is not None:
        size = Budget(settings.width_budget).widest(space, architecture, size)
    return size if budget is None else Budget(budget).fit(space, architecture, size)
