"""Searches and evaluations as Ray Tune trials.

Classes with ``reset_config``, so that Tune hands one process from trial to trial: a new process costs seconds, a reset
hundredths. A trial writes its rows before it reports the epoch that gave them; rows are named by what they are, so an
epoch that is run again after a kill writes the same ones.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ray
from pyarrow import fs
from ray.tune import Trainable

from nasray import registry
from nasray.errors import InvalidInput, NonFiniteLoss
from nasray.runs import Storage, open_storage
from nasray.runs.events import Level, say, show_events
from nasray.runs.patience import EVENT, PATIENCE, patiently
from nasray.searchers.searchers import EPOCH
from nasray.spaces import CellSpace
from nasray.spaces.encoding import decode
from nasray.trials.checkpoints import DamagedState, newest_first, pack, unpack
from nasray.trials.evaluation import Evaluation, EvaluationConfig
from nasray.trials.lookup import Lookup, open_table, tabular_size
from nasray.trials.rows import write_candidates, write_evaluation, write_trained_network
from nasray.trials.search import Search
from nasray.trials.search_config import SearchConfig
from nasray.tune.resources.limits import free_gpu_memory, limit_gpu_memory, limit_threads

STATE = "state.pt"
FAILED = "failed"
"""In a trial's last report: why it gave up, for a reason that trying again at once does not change."""
DIVERGED = "diverged"
"""In such a report: the reason is the trial's own, so that the next driver does not try again either."""
SAID = "said"
"""In a trial's report: the events since its last one, each a level, a name and its fields, for the driver to say."""

NODE = "node"
"""In a trial's report: the first digits of its Ray node's id."""

Point = tuple[float, float]
"""Multiply-adds (M) and accuracy of something that may be on a front."""


class _Trial(Trainable):
    """What both kinds of trial share: threads, checkpoints, and giving up."""

    _frozen = False  # gc.get_freeze_count() counts them all, which takes 40 ms

    def setup(
        self, config: dict[str, Any], shared: dict[str, Any] | None = None, where: dict[str, Any] | None = None
    ) -> None:
        """Start the trial that ``config["trial"]`` describes, or the one that a searcher proposed.

        Args:
            config: of the trial. A proposed one's has the parameters of an architecture.
            shared: what all proposed trials have beside them.
            where: ``storage`` and ``data_root``, which a resumed run may have others of than Tune wrote down.
        """
        share = {} if self.trial_resources is None else self.trial_resources.bundles[0]
        limit_threads(share.get("CPU", 1.0))
        limit_gpu_memory(share.get("GPU", 0.0))
        show_events()
        self._trial: dict[str, Any] = config["trial"] if shared is None else {**shared, "parameters": config}
        if where is not None:
            what = "search" if "search" in self._trial else "evaluation"
            settings = {**self._trial[what], "data_root": where["data_root"]}
            self._trial = {**self._trial, "storage": where["storage"], what: settings}
        self._said: list[tuple[Level, str, dict[str, Any]]] = []
        self._points: list[Point] = []
        self._refused: str | None = None
        self._taken_up = False
        self._hear_storage()
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
            # Tune may have lost what it knew of the trial. Where a scheduler compares trials at rungs it must see all
            # of them, so these begin anew.
            if not self._taken_up and not self._trial.get("rungs") and not self._trial.get("table"):
                self._take_up()
            result = self._finished_result() if self._is_finished() else self._step()
        except NonFiniteLoss as error:
            result = {"done": True, EPOCH: 0, FAILED: str(error), DIVERGED: True}
        except InvalidInput as error:
            result = {"done": True, EPOCH: 0, FAILED: str(error)}
        if self._said:
            result[SAID], self._said = self._said, []
        result[NODE] = ray.get_runtime_context().get_node_id()[:12]
        return result

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Tune's, tried again where the storage fails for a while."""
        storage = self._storage
        index = 0 if storage is None else storage.current_checkpoint_index

        def once() -> Any:
            if storage is not None:
                storage.current_checkpoint_index = index  # a try that failed has counted it up
            return super(_Trial, self).save(checkpoint_dir)

        return patiently(once, what=f"save a checkpoint of trial {self.trial_name}", seconds=PATIENCE)

    def restore(self, checkpoint_path: Any) -> None:
        """Tune's, tried again where the storage fails for a while; a checkpoint that is gone is like a damaged one."""
        checkpoint = getattr(checkpoint_path, "checkpoint", checkpoint_path)

        def once() -> None:
            if checkpoint.filesystem.get_file_info(checkpoint.path).type == fs.FileType.NotFound:
                self._take_up(f"{checkpoint.path.rpartition('/')[2]} is gone")
            else:
                super(_Trial, self).restore(checkpoint_path)

        patiently(once, what=f"read the checkpoint of trial {self.trial_name}", seconds=PATIENCE)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The state after the last epoch; of a trial that is refused what lies there already, or an empty one."""
        if self._refused is None:
            content = pack(self._state_dict())
        else:  # Tune keeps two checkpoints: those of refusals must not take the place of what was trained
            content = next((earlier for _, earlier in self._checkpoints()), pack({}))
        # A checkpoint that is reported must be there after a power cut too.
        with (Path(checkpoint_dir) / STATE).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(self, checkpoint_dir: str | dict[str, Any] | None) -> None:
        """Take back what :meth:`save_checkpoint` wrote, or an earlier state where that is damaged."""
        assert isinstance(checkpoint_dir, str)
        if self._refused is not None:
            return
        try:
            state = unpack((Path(checkpoint_dir) / STATE).read_bytes())
            if state:
                self._take(state)
        except (DamagedState, FileNotFoundError) as error:
            self._take_up(str(error) if isinstance(error, DamagedState) else "it has no state")

    def _take(self, state: dict[str, Any]) -> None:
        try:
            self._load_state_dict(state)
            self._points = [(macs, accuracy) for macs, accuracy in state["points"]]
        except Exception as error:  # whole, but of another search: whatever does not fit then
            raise DamagedState(f"it is of another trial ({type(error).__name__})") from error
        self._taken_up = True

    def _take_up(self, damage: str | None = None) -> None:
        """Go on from the newest whole checkpoint in the trial's folder, or begin anew where there is none.

        Args:
            damage: of the one that Tune gave; None where it gave none.
        """
        self._taken_up = True
        for name, content in self._checkpoints():
            try:
                state = unpack(content)
                if not state:
                    continue
                self._take(state)
            except DamagedState as error:
                damage = damage or f"{name}: {error}"
                # What was loaded before it turned out not to fit must not stay.
                self._start(self._trial)
                self._points = []
                continue
            if damage is None:
                self._say("info", "trial_taken_up", checkpoint=name)
            else:
                self._say("warning", "checkpoint_damaged", reason=damage, used=name)
            return
        if damage is not None:
            self._say("warning", "checkpoint_damaged", reason=damage, used="none, the trial begins anew")

    def _checkpoints(self) -> Iterable[tuple[str, bytes]]:
        """Names and contents of those in the trial's folder, newest first."""
        storage = self._storage
        return newest_first(storage.storage_filesystem, storage.trial_fs_path, STATE) if storage else ()

    def cleanup(self) -> None:
        """Give the memory back before the next trial takes its own."""
        if not self._stop():
            return  # what was looked up holds next to nothing, and a collection takes longer than looking it up
        gc.collect()
        if not self._frozen:
            gc.freeze()  # what stays after a first trial are torch and Ray: half a million objects, not looked at again
            self._frozen = True
        free_gpu_memory()

    def _say(self, level: Level, event: str, **fields: Any) -> None:
        """Log an event here, in the worker, and send it to the driver with the next result."""
        say(level, event, run=self._trial["run"], trial=self.trial_name, **fields)
        self._said.append((level, event, fields))

    def _hear_storage(self) -> None:
        """What the storage logs of its failures goes to the driver too."""
        logger = logging.getLogger("nasray")
        if not any(isinstance(handler, _StorageEvents) for handler in logger.handlers):
            logger.addHandler(_StorageEvents())
        _StorageEvents.trial = self

    def _results(self) -> Storage:
        """The run's folder."""
        return open_storage(self._trial["storage"], patience=PATIENCE)

    def _start(self, trial: dict[str, Any]) -> None:
        raise NotImplementedError

    def _is_finished(self) -> bool:
        raise NotImplementedError

    def _finished_result(self) -> dict[str, Any]:
        """Of a trial that was finished when it was taken up: its rows are written."""
        raise NotImplementedError

    def _step(self) -> dict[str, Any]:
        raise NotImplementedError

    def _stop(self) -> bool:
        """Let go of everything; gives whether there were networks."""
        raise NotImplementedError

    def _state_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError


class _StorageEvents(logging.Handler):
    """Takes the storage's events to the trial that this process runs."""

    trial: _Trial | None = None

    def emit(self, record: logging.LogRecord) -> None:
        said = getattr(record, EVENT, None)
        if said is not None and self.trial is not None:
            self.trial._said.append(("warning", *said))


class SearchTrainable(_Trial):
    """A search. Its trial: ``run``, ``storage`` (the run's folder), ``search`` (a SearchConfig's), ``varied``."""

    search: Search | None = None

    def _start(self, trial: dict[str, Any]) -> None:
        self.search = Search(SearchConfig.of(trial["search"]))

    def _is_finished(self) -> bool:
        assert self.search is not None
        return self.search.finished

    def _finished_result(self) -> dict[str, Any]:
        assert self.search is not None
        return {"epoch": self.search.epoch, "points": self._points, "done": True}

    def _step(self) -> dict[str, Any]:
        assert self.search is not None
        epoch = self.search.run_epoch()
        storage, run, varied = self._results(), self._trial["run"], self._trial["varied"]
        write_candidates(storage, run, self.search, epoch, varied)
        write_trained_network(storage, run, self.search, varied)
        self._points += [(c.macs, c.accuracy) for c in epoch.candidates]
        return {**epoch.metrics, "epoch": epoch.number, "points": self._points, "done": self.search.finished}

    def _stop(self) -> bool:
        self.search = None
        return True

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
        size = tabular_size(table.space, config.dataset)
        self.evaluation = Lookup(table, config.architecture, size, trial["rungs"])

    def _by_group(self, config: EvaluationConfig, trial: dict[str, Any]) -> Evaluation:
        from nasray.tune.workers import DistributedEvaluation, Group

        folder = str(self._results().child("tune"))  # a URI may have parameters
        group = Group(**trial["group"])
        return DistributedEvaluation(config, group, folder, self.trial_name, trial["rungs"], self._say)

    def _architecture(self, trial: dict[str, Any]) -> str:
        """As JSON."""
        if "architecture" in trial.get("parameters", {}):
            return str(trial["parameters"]["architecture"])
        if "parameters" in trial:
            space: CellSpace = registry.find("space", trial["evaluation"]["space"], CellSpace)
            return decode(space, trial["parameters"], trial["cells"]).to_json()
        name = f"architectures/{trial['evaluation']['architecture']}.json"
        return self._results().read_bytes(name).decode()

    def _is_finished(self) -> bool:
        assert self.evaluation is not None
        return self.evaluation.finished

    def _finished_result(self) -> dict[str, Any]:
        evaluation = self.evaluation
        assert evaluation is not None
        figures = {"accuracy": evaluation.accuracy, "macs": evaluation.macs, "params": evaluation.params}
        return {**figures, EPOCH: evaluation.epoch, "points": self._points, "done": True}

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
            row = write_evaluation(self._results(), self._trial["run"], evaluation, self._trial)
            cost["latency_ms"] = row.get("latency_ms")
        if evaluation.finished:
            self._points = [(evaluation.macs, evaluation.accuracy)]
        return {**metrics, **cost, EPOCH: evaluation.epoch, "points": self._points, "done": evaluation.finished}

    def _stop(self) -> bool:
        networks = not isinstance(self.evaluation, Lookup)
        self.evaluation = None
        return networks

    def _state_dict(self) -> dict[str, Any]:
        assert self.evaluation is not None
        return {**self.evaluation.state_dict(), "points": self._points}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        assert self.evaluation is not None
        self.evaluation.load_state_dict(state)
