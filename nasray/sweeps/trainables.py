"""Searches and evaluations as Ray Tune trials.

Classes with ``reset_config``, so that Tune hands one process from trial to trial: a new process costs seconds, a reset
hundredths. A trial writes its rows before it reports the epoch that gave them; rows are named by what they are, so an
epoch that is run again after a kill writes the same ones.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import torch
from ray.tune import Trainable

from nasray import registry
from nasray.errors import InvalidInput, NonFiniteLoss
from nasray.evaluation import Evaluation, EvaluationConfig
from nasray.results import open_storage
from nasray.search import Search, SearchConfig
from nasray.spaces import Architecture, CellSpace
from nasray.spaces.encoding import decode
from nasray.sweeps.events import Level, say, show_events
from nasray.sweeps.limits import free_gpu_memory, limit_gpu_memory, limit_threads
from nasray.sweeps.lookup import Lookup, open_table, tabular_size
from nasray.sweeps.rows import write_candidates, write_evaluation, write_trained_network
from nasray.sweeps.searchers import EPOCH

STATE = "state.pt"
FAILED = "failed"
"""In a trial's last report: why it gave up, for a reason that trying again does not change."""
SAID = "said"
"""In a trial's report: the events since its last one, each a level, a name and its fields, for the driver to say."""

Point = tuple[float, float]
"""Multiply-adds (M) and accuracy of something that may be on a front."""


class _Trial(Trainable):
    """What both kinds of trial share: threads, checkpoints, and giving up."""

    def setup(self, config: dict[str, Any], shared: dict[str, Any] | None = None) -> None:
        """Start the trial that ``config["trial"]`` describes, or the one that a searcher proposed.

        Args:
            config: of the trial. A proposed one's has the parameters of an architecture.
            shared: what all proposed trials have beside them.
        """
        share = {} if self.trial_resources is None else self.trial_resources.bundles[0]
        limit_threads(share.get("CPU", 1.0))
        limit_gpu_memory(share.get("GPU", 0.0))
        show_events()
        self._trial: dict[str, Any] = config["trial"] if shared is None else {**shared, "parameters": config}
        self._said: list[tuple[Level, str, dict[str, Any]]] = []
        self._points: list[Point] = []
        self._refused: str | None = None
        try:
            self._start(self._trial)
        except InvalidInput as error:
            self._refused = str(error)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial in the same process."""
        self.cleanup()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """One epoch; what Tune keeps in memory of it is small."""
        if self._refused is not None:
            return {"done": True, EPOCH: 0, FAILED: self._refused}
        try:
            result = self._step()
        except (NonFiniteLoss, InvalidInput) as error:
            result = {"done": True, EPOCH: 0, FAILED: str(error)}
        if self._said:
            result[SAID], self._said = self._said, []
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The state after the last epoch."""
        state = {"points": self._points} if self._refused is not None else self._state_dict()
        path = Path(checkpoint_dir) / STATE
        torch.save(state, path)
        # A checkpoint that is reported must be there after a power cut too.
        with path.open("rb") as written:
            os.fsync(written.fileno())

    def load_checkpoint(self, checkpoint_dir: str | dict[str, Any] | None) -> None:
        """Take back what :meth:`save_checkpoint` wrote; nothing in it is executed."""
        assert isinstance(checkpoint_dir, str)
        if self._refused is None:
            state = torch.load(Path(checkpoint_dir) / STATE, map_location="cpu", weights_only=True)
            self._load_state_dict(state)
            self._points = [(macs, accuracy) for macs, accuracy in state["points"]]

    def cleanup(self) -> None:
        """Give the memory back before the next trial takes its own."""
        self._stop()
        gc.collect()
        free_gpu_memory()

    def _say(self, level: Level, event: str, **fields: Any) -> None:
        """Log an event here, in the worker, and send it to the driver with the next result."""
        say(level, event, run=self._trial["run"], trial=self.trial_name, **fields)
        self._said.append((level, event, fields))

    def _start(self, trial: dict[str, Any]) -> None:
        raise NotImplementedError

    def _step(self) -> dict[str, Any]:
        raise NotImplementedError

    def _stop(self) -> None:
        raise NotImplementedError

    def _state_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError


class SearchTrainable(_Trial):
    """A search. Its trial: ``run``, ``storage`` (the run's folder), ``search`` (a SearchConfig's), ``varied``."""

    search: Search | None = None

    def _start(self, trial: dict[str, Any]) -> None:
        self.search = Search(SearchConfig.of(trial["search"]))

    def _step(self) -> dict[str, Any]:
        assert self.search is not None
        epoch = self.search.run_epoch()
        storage, run, varied = open_storage(self._trial["storage"]), self._trial["run"], self._trial["varied"]
        write_candidates(storage, run, self.search, epoch, varied)
        write_trained_network(storage, run, self.search, varied)
        self._points += [(c.macs, c.accuracy) for c in epoch.candidates]
        return {**epoch.metrics, "epoch": epoch.number, "points": self._points, "done": self.search.finished}

    def _stop(self) -> None:
        self.search = None

    def _state_dict(self) -> dict[str, Any]:
        assert self.search is not None
        return {**self.search.state_dict(), "points": self._points}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        assert self.search is not None
        self.search.load_state_dict(state)


class EvaluationTrainable(_Trial):
    """A training from scratch, or its figures looked up.

    Its trial: ``run``, ``storage`` (the run's folder), ``evaluation`` (an EvaluationConfig's values, where the
    architecture is the id of one in that folder), ``rungs`` (epochs that leave a row of what is not complete),
    ``table`` (what opens a table of accuracies, or None), ``group`` (of the workers, where several train it),
    ``found`` (what gave the architecture, as
    ``write_evaluation`` takes it); where a searcher proposed it ``parameters`` (or the architecture itself) and
    ``cells``.
    """

    evaluation: Evaluation | Lookup | None = None

    def _start(self, trial: dict[str, Any]) -> None:
        config = EvaluationConfig.of({**trial["evaluation"], "architecture": self._architecture(trial)})
        if trial["table"] is None:
            self.evaluation = Evaluation(config) if "group" not in trial else self._by_group(config, trial)
            return
        table = open_table(**{**trial["table"], "columns": tuple(trial["table"]["columns"])})
        architecture = Architecture.from_json(table.space, config.architecture)
        size = tabular_size(table.space, config.dataset)
        self.evaluation = Lookup(table, architecture, size, trial["rungs"])

    def _by_group(self, config: EvaluationConfig, trial: dict[str, Any]) -> Evaluation:
        from nasray.sweeps.distributed import DistributedEvaluation, Group

        folder = f"{trial['storage']}/tune"
        return DistributedEvaluation(config, Group(**trial["group"]), folder, self.trial_name, self._say)

    def _architecture(self, trial: dict[str, Any]) -> str:
        """As JSON."""
        if "architecture" in trial.get("parameters", {}):
            return str(trial["parameters"]["architecture"])
        if "parameters" in trial:
            space: CellSpace = registry.find("space", trial["evaluation"]["space"], CellSpace)
            return decode(space, trial["parameters"], trial["cells"]).to_json()
        name = f"architectures/{trial['evaluation']['architecture']}.json"
        return open_storage(trial["storage"]).read_bytes(name).decode()

    def _step(self) -> dict[str, Any]:
        evaluation = self.evaluation
        assert evaluation is not None
        cost: dict[str, float | None] = {"macs": evaluation.macs, "params": evaluation.params}
        budget = self._trial["evaluation"]["budget"]
        if budget is not None and evaluation.macs > budget:
            # Only where it cannot be made narrower: a searcher learns the cost, and nothing is spent on it.
            return {**cost, EPOCH: 0, "done": True}
        metrics = evaluation.run_epoch()
        if evaluation.finished or evaluation.epoch in self._trial["rungs"]:
            storage = open_storage(self._trial["storage"])
            row = write_evaluation(storage, self._trial["run"], evaluation, self._trial)
            cost["latency_ms"] = row.get("latency_ms")
        if evaluation.finished:
            self._points = [(evaluation.macs, evaluation.accuracy)]
        return {**metrics, **cost, EPOCH: evaluation.epoch, "points": self._points, "done": evaluation.finished}

    def _stop(self) -> None:
        self.evaluation = None

    def _state_dict(self) -> dict[str, Any]:
        assert self.evaluation is not None
        return {**self.evaluation.state_dict(), "points": self._points}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        assert self.evaluation is not None
        self.evaluation.load_state_dict(state)
