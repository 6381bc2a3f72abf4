"""A run as people use it: tables, front, best architecture, and trained networks to take away."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nasray import registry
from nasray.errors import InvalidInput, printable, shown
from nasray.fronts import complete, pareto_front
from nasray.results.schedule import schedule
from nasray.runs import CANDIDATES, EPOCHS, EVALUATIONS, LOOKED_UP, Storage, is_run, read, storage_of
from nasray.runs.front_file import FRONT_FILE, load
from nasray.spaces import Architecture, CellSpace

if TYPE_CHECKING:
    from nasray.networks import Network
    from nasray.networks.saved import Blueprint

_MOST_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Run:
    """A run's folder, made by :func:`open`.

    Tables are read at each access, so that a running sweep shows its newest rows.
    """

    storage: Storage
    code: tuple[Path, ...] = ()
    """Files of a user's own search spaces."""

    def __repr__(self) -> str:
        return f"Run({str(self.storage)!r})"

    @property
    def candidates(self) -> pd.DataFrame:
        """One row for each architecture that a search gave, with its inherited accuracy (docs/tables.md)."""
        return read(self.storage, CANDIDATES)

    @property
    def evaluations(self) -> pd.DataFrame:
        """One row for each training from scratch, or look-up in a table (docs/tables.md)."""
        return read(self.storage, EVALUATIONS)

    @property
    def epochs(self) -> pd.DataFrame:
        """Learning curves: one row for each epoch of every search and training, at most some seconds old
        (docs/tables.md)."""
        return read(self.storage, EPOCHS)

    def schedule(self) -> pd.DataFrame:
        """The settings in force at each epoch that led to a population's best member: one row an epoch.

        Raises:
            InvalidInput: no population was trained to its end here.
        """
        rows = self.evaluations
        members = rows[rows["member"].notna()]
        if not len(members):
            raise InvalidInput(f"{self.storage} has no population that was trained to its end.")
        best = members.sort_values(["accuracy", "created_at"], kind="stable").iloc[-1]
        return schedule(self.epochs, str(best["member"]))

    @property
    def command(self) -> str | None:
        """The command that repeats the run, for a shell: with all that was resolved, in any other folder of runs. None
        where none does, as where the sweep was made in a notebook; run.json says why."""
        words = self.storage.read_json("run.json").get("command")
        return shlex.join(map(str, words)) if isinstance(words, list) else None

    @property
    def resume_command(self) -> str:
        """The command that goes on with the run where it was left, for a shell."""
        given = ["--code", *map(str, self.code)] if self.code else []
        return shlex.join(["nasray", "resume", str(self.storage), *given])

    def front(self) -> pd.DataFrame:
        """The front, by rising multiply-adds: the one that the run ended with, else that of its evaluations so far, or
        of its candidates where nothing has been trained.

        Raises:
            InvalidInput: there is no front of its rows yet, for they are of several fidelities.
        """
        if self.storage.exists(FRONT_FILE):
            return load(str(self.storage), "front")
        evaluations = self.evaluations
        return pareto_front(evaluations if len(evaluations) else self.candidates)

    def best(self, budget: float | None = None) -> pd.Series[Any]:
        """The front's most accurate row.

        Args:
            budget: most multiply-adds (M) that it may have; None is any number.

        Raises:
            InvalidInput: nothing on the front is within the budget.
        """
        front = self.front()
        if not len(front):
            raise InvalidInput(f"The front of {self.storage} is empty: no search has given an architecture yet.")
        within = front if budget is None else front[front["macs"] <= budget]
        if not len(within):
            raise InvalidInput(
                f"Nothing on the front of {self.storage} is within {budget:g} M multiply-adds: "
                f"the smallest has {front['macs'].min():.4g} M."
            )
        return within.iloc[-1]

    def architecture(self, id: str) -> Architecture:
        """An architecture by its id.

        Raises:
            InvalidInput: the run has none of this id, or its space is a user's own and its file was not given.
        """
        for table in (self.evaluations, self.candidates):
            rows = table[table["architecture_id"] == id]
            if len(rows):
                space = self._space(rows.iloc[0]["space"], None)
                return Architecture.from_json(space, rows.iloc[0]["architecture"])
        raise self._unknown(id)

    def network(self, which: str | Mapping[str, Any] | pd.Series[Any] = "best", budget: float | None = None) -> Network:
        """A trained network, as a torch module on the CPU, in evaluation mode.

        It takes what the dataset's transform ``none`` gives, and gives logits (N, classes).

        Args:
            which: ``best``, the front's most accurate one; a row of the evaluations or of a front; or an architecture's
                id. Of an architecture that was trained several times (for other seeds, epochs, settings) an id means
                the training of most epochs, and of those the one with the best validation accuracy.
            budget: most multiply-adds (M) that ``best`` may have; None is any number.

        Raises:
            InvalidInput: the run has no such architecture, or no trained weights of it; nothing is within the budget;
                its space is a user's own and its file was not given, or is another one by now; or the weights are
                damaged.
        """
        return self.trained(which, budget)[0]

    def trained(
        self, which: str | Mapping[str, Any] | pd.Series[Any] = "best", budget: float | None = None
    ) -> tuple[Network, Blueprint]:
        """A trained network with all that it was built from, as :meth:`network` gives it.

        Raises:
            InvalidInput: as of :meth:`network`.
        """
        name = self._weights(self._chosen(which, budget))
        source = f"{self.storage}/{name}"
        if not self.storage.exists(name):
            raise InvalidInput(f"{source} is missing: the network cannot be rebuilt without its trained weights.")
        self.storage.check_size(name, _MOST_BYTES)
        # Torch takes seconds to import, which only those pay for who ask for a network.
        from nasray.networks.saved import from_bytes, rebuild

        blueprint, weights = from_bytes(self.storage.read_bytes(name), source)
        return rebuild(blueprint, weights, self._space(blueprint.space, blueprint.digest), source), blueprint

    def export(
        self,
        which: str | Mapping[str, Any] | pd.Series[Any] = "best",
        *,
        out: str | Path,
        to: str | None = None,
        budget: float | None = None,
    ) -> Path:
        """Write a trained network into a file that others run (see :func:`nasray.deployment.export`).

        Args:
            which: as of :meth:`network`.
            out: file to write; its folder must be there.
            to: ``safetensors``, ``pt2`` or ``onnx``; None is what the file's name ends with.
            budget: most multiply-adds (M) that ``best`` may have; None is any number.

        Returns:
            The file.

        Raises:
            InvalidInput: as of :meth:`network`, or the file cannot be of this form, or be written.
        """
        from nasray.deployment import check_target, export

        form = check_target(out, to)
        network, blueprint = self.trained(which, budget)
        return export(network, blueprint, out, form)

    def report(self, out: str | Path | None = None) -> str:
        """Write the run's report, one HTML page that needs no network: see :func:`nasray.report`."""
        return report(self, out=out)

    def _repr_html_(self) -> str:
        """The front as a table and a picture, for notebooks."""
        from nasray.results.notebook import shown_front

        try:
            front = self.front()
        except InvalidInput:  # its rows are of several fidelities, which have no common one
            front = pd.DataFrame()
        return shown_front(self.storage.name, front)

    def _found_space(self, name: str) -> CellSpace | None:
        """A space by its name in the tables; None where it is not there, or its code was not given."""
        try:
            return self._space(name, None)
        except InvalidInput:
            return None

    def _chosen(
        self, which: str | Mapping[str, Any] | pd.Series[Any], budget: float | None
    ) -> str | Mapping[str, Any] | pd.Series[Any]:
        if isinstance(which, str) and which == "best":
            return self.best(budget)
        if budget is not None:
            raise InvalidInput(f"budget {budget:g} with an architecture of your choice: expected it with 'best' alone.")
        return which

    def _weights(self, which: str | Mapping[str, Any] | pd.Series[Any]) -> str:
        """Name of the file of a network's weights."""
        if not isinstance(which, str):
            if isinstance(which, Mapping | pd.Series) and isinstance(which.get("weights"), str):
                return str(which["weights"])
            if not isinstance(which, Mapping | pd.Series):
                raise InvalidInput(f"{shown(which)} is no architecture: give 'best', an id, or a row.")
            if not isinstance(which.get("architecture_id"), str):
                raise InvalidInput(
                    "This row names no architecture: give a row of a run's evaluations or front, or an id."
                )
            which = str(which["architecture_id"])
        rows = self.evaluations
        rows = rows[rows["architecture_id"] == which]
        trained = rows[rows["weights"].notna()]
        if len(trained):
            order = trained.sort_values(["epochs", "accuracy", "created_at"], kind="stable")
            return str(order.iloc[-1]["weights"])
        if not len(rows):
            candidates = self.candidates[self.candidates["architecture_id"] == which]
            if not len(candidates):
                raise self._unknown(which)
            reason = "it was found, but not trained from scratch. nasray.train(row) trains one, nasray retrain a front"
            begun = self.storage.read_json("run.json") if self.storage.exists("run.json") else {}
            if "sweep" in begun and "ended" not in begun:
                reason = f"it was found, but not trained yet. The run has not ended: {self.resume_command} goes on"
            if not len(complete(candidates)):
                reason = "the search that found it was stopped early. nasray.train(row) trains it all the same"
        elif (rows["training"] == LOOKED_UP).all():
            reason = "its accuracy was looked up in a table"
        else:
            reason = "its training was stopped before the end"
        raise InvalidInput(f"No trained weights of architecture {which} in {self.storage}: {reason}.")

    def _unknown(self, id: str) -> InvalidInput:
        known = sorted({*self.evaluations["architecture_id"], *self.candidates["architecture_id"]})
        near = difflib.get_close_matches(str(id), known, n=3) or known[:3]
        has = f"It has {len(known)}, such as {', '.join(near)}" if near else "It has none yet"
        return InvalidInput(f"No architecture {shown(id)} in {self.storage}. {has}.")

    def _space(self, name: str, digest: str | None) -> CellSpace:
        """A space by the name that the run's folder has of it: no file that the folder names is ever loaded."""
        if not registry.is_file(name):
            found: CellSpace = registry.find("space", name, CellSpace)
            return found
        file, _, attribute = registry.portable(name).rpartition(":")
        here = registry.given_by(self.code, name)
        if here is None:
            raise InvalidInput(
                f"Search space {shown(f'{file}:{attribute}')} is a user's own code, which is not kept with the run. "
                f"Give its file: --code {printable(file)}, or nasray.open({str(self.storage)!r}, code={shown(file)})."
            )
        found = registry.find("space", here, CellSpace)
        if digest is not None and registry.digest("space", here) != digest:
            raise InvalidInput(
                f"{here.rpartition(':')[0]} is not the code that the network was trained with (digest {digest} then, "
                f"{registry.digest('space', here)} now). Give {file} as it was."
            )
        return found


def open(where: str | Path, code: str | Path | Sequence[str | Path] | None = None) -> Run:
    """Open a run's folder; the run may still be going on.

    Args:
        where: the folder, its URI, or its name in runs/.
        code: the file of a user's own search space, or several; needed for architectures and networks of such spaces,
            for a run's folder holds no code, and none that it names is loaded.

    Raises:
        InvalidInput: no run lies there, or a file of code is not there.
    """
    storage = storage_of(where)
    if not is_run(storage):
        raise InvalidInput(f"No run in {storage}: give the folder or URI of one, such as runs/digits.")
    return Run(storage, registry.code_files(code))


def named_storages(runs: Sequence[Run | str | Path]) -> dict[str, Storage]:
    """Folders of runs, as :func:`open` gives or takes them, by the names under which they are shown.

    Raises:
        InvalidInput: there is none, or no run lies there.
    """
    if not runs:
        raise InvalidInput("No run was given: give the folder or URI of one, such as runs/digits.")
    storages = [(run if isinstance(run, Run) else open(run)).storage for run in runs]
    names = [storage.name for storage in storages]
    return {
        name if names.count(name) == 1 else f"{name} ({place + 1})": storage
        for place, (name, storage) in enumerate(zip(names, storages, strict=True))
    }


def export(
    run: Run | str | Path,
    which: str | Mapping[str, Any] | pd.Series[Any] = "best",
    *,
    out: str | Path,
    to: str | None = None,
    budget: float | None = None,
    code: str | Path | Sequence[str | Path] | None = None,
) -> Path:
    """Write a trained network of a run into a file that others run: see :meth:`Run.export` and :func:`open`.

    Raises:
        InvalidInput: as of both.
    """
    opened = run if isinstance(run, Run) else open(run, code)
    return opened.export(which, out=out, to=to, budget=budget)


def report(
    *runs: Run | str | Path,
    out: str | Path | None = None,
    code: str | Path | Sequence[str | Path] | None = None,
) -> str:
    """Write the report of runs: one HTML page with their front, tables, cells and figures, that needs no network.

    Args:
        runs: one or more, as :func:`open` gives or takes them.
        out: file to write; None is ``report.html`` in the first run's folder.
        code: as of :func:`open`: the cost of operations in a user's own space is counted where its file is given.

    Returns:
        The file, or its URI.

    Raises:
        InvalidInput: as of :func:`open`; the runs have no rows yet, or rows of several metrics; Plotly is not
            installed, or the file cannot be written.
    """
    from nasray.pictures.report import RunTables
    from nasray.results.reporting import report_page, write_page

    if not runs:
        raise InvalidInput("No run to report: give the folder or URI of one, such as runs/digits.")
    opened = [run if isinstance(run, Run) else open(run, code) for run in runs]
    tables = [
        RunTables(
            name=name,
            storage=run.storage,
            candidates=run.candidates,
            evaluations=run.evaluations,
            epochs=getattr(run, "epochs", None),
        )
        for name, run in zip(named_storages(opened), opened, strict=True)
    ]
    found: dict[str, CellSpace | None] = {}
    for run in opened:
        for name in {*run.candidates["space"], *run.evaluations["space"]}:
            found[name] = found.get(name) or run._found_space(name)
    return write_page(report_page(tables, found.get), opened[0].storage, out)
