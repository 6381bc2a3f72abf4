"""ISTA-NAS, two-stage.

Y. Yang, H. Li, S. You, F. Wang, C. Qian, Z. Lin, "ISTA-NAS: Efficient and Consistent Neural Architecture Search by
Sparse Coding", NeurIPS 2020, arXiv:2010.06176; settings of iboing/ISTA-NAS. A node should receive few of its candidate
connections: its vector z of connection weights, one for each (edge, operation), should be sparse. The search
happens in a compressed space, b = A z with a fixed measurement matrix A of few rows, and z is recovered from b by the
LASSO

    z(b) = argmin_z 1/2 |A z - b|^2 + gamma |z|_1

once an epoch. Of it the s largest entries S are kept, and until the next recovery the weights of the connections are
one step of ISTA from there without its threshold,

    w_S = z_S + A_S^T (b - A_S z_S),

which is z = A^T b - (A^T A - I) z for z zero outside S. Gradients reach b alone, dw_S/db = A_S^T, and only the
connections in S are computed. Weights and b are trained alternately on two halves of the training data.
methods.md 1.1 to 1.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nasray.errors import NonFiniteLoss
from nasray.gates import Gates, Mask, architecture_of, candidate_mask
from nasray.methods.lasso import lasso
from nasray.methods.method import CostKnob, EpochEnd, Learner, Problem, SearchMethod, first_order_step
from nasray.networks import Batch
from nasray.settings import Range, TrainingSettings, knob, setting
from nasray.spaces import Architecture

Measurement = Literal["uniform", "gaussian"]


def measurement_matrix(
    measurement: Measurement, projections: int, candidates: int, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """A: independent entries, from [0, 1) as in the released code, or normal with columns scaled to length 1."""
    if measurement == "uniform":
        return generator.random((projections, candidates))
    matrix = generator.standard_normal((projections, candidates))
    matrix /= np.linalg.norm(matrix, axis=0)
    return matrix


class SparseCoding(nn.Module):
    """The compressed variables b of all nodes j, their measurement matrices A, and the code z recovered from them.

    Axis N runs over all (edge, operation) of a cell, edge by edge. Of a node's matrix the columns of what does not
    enter the node, and of ``none``, are zero, so that its code is zero there.
    """

    A_JMN: Tensor
    z_JN: Tensor
    """The whole solution of the LASSO; only its entries in ``selected_JN`` are used."""
    selected_JN: Tensor
    """S, as booleans."""

    def __init__(
        self, problem: Problem, *, sparsity: int, projections: int, measurement: Measurement, gamma: float
    ) -> None:
        super().__init__()
        self._problem, self._sparsity, self._gamma = problem, sparsity, gamma
        self._graphs = {name: problem.space.graph(name) for name in problem.layout}
        width = max(len(graph.edges) * len(graph.operations) for graph in self._graphs.values())
        # Its own generator: the matrices depend on the seed, and not on the size of the supernet.
        generator = np.random.default_rng(problem.seed)
        matrices = []
        self.b = nn.ParameterList()
        for graph in self._graphs.values():
            for edges in graph.incoming.values():
                enters_EO = candidate_mask(graph)
                enters_EO[np.setdiff1d(np.arange(len(graph.edges)), edges)] = False
                columns = np.flatnonzero(enters_EO)
                matrix = np.zeros((projections, width))
                matrix[:, columns] = measurement_matrix(measurement, projections, len(columns), generator)
                matrices.append(matrix)
                self.b.append(nn.Parameter(torch.from_numpy(1e-3 * generator.standard_normal(projections)).float()))
        self.register_buffer("A_JMN", torch.from_numpy(np.stack(matrices)).float())
        self.register_buffer("z_JN", torch.zeros(len(matrices), width))
        self.register_buffer("selected_JN", torch.zeros(len(matrices), width, dtype=torch.bool))
        self.adopt(*self.recover())
        self.register_load_state_dict_post_hook(_after_load)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def recover(self) -> tuple[Tensor, Tensor]:
        """z_JN by the LASSO, and S: the ``sparsity`` largest of its entries, as booleans, both on the host.

        Entries that the LASSO left at zero are not in S, even if it becomes smaller (our choice: nothing speaks for
        one of them more than for another). Where all are zero, S is the candidate that would be the first to enter
        the solution as gamma falls. Where the space gives every edge one operation, only the largest entry of an edge
        can be in S, and an edge without one takes ``none`` (our choice).

        Raises:
            NonFiniteLoss: some b is infinite or not a number.
        """
        A_JMN, b_JM = self.A_JMN.cpu().double().numpy(), torch.stack(tuple(self.b)).cpu().double().numpy()
        if not np.isfinite(b_JM).all():
            raise NonFiniteLoss("the compressed variables became infinite or not a number")
        z_JN = lasso(A_JMN, b_JM, self._gamma)
        size_JN = self._one_per_edge(np.abs(z_JN))
        largest_JS = np.argsort(-size_JN, axis=1, kind="stable")[:, : self._sparsity]
        selected_JN = np.zeros(z_JN.shape, dtype=bool)
        np.put_along_axis(selected_JN, largest_JS, True, axis=1)
        selected_JN &= size_JN != 0.0
        enters_JN = self.candidates_JN().numpy()
        for j in np.flatnonzero(~selected_JN.any(axis=1)):
            selected_JN[j, np.where(enters_JN[j], np.abs(b_JM[j] @ A_JMN[j]), -1.0).argmax()] = True
        return torch.from_numpy(z_JN).float(), torch.from_numpy(selected_JN)

    def _one_per_edge(self, size_JN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # Zero for all but the largest of an edge that takes one operation.
        kept_JN = torch.from_numpy(size_JN).clone()
        for name, rows_NEO in self.of_cells(kept_JN).items():
            if self._graphs[name].one_per_edge:
                largest_NE1 = rows_NEO.argmax(dim=2, keepdim=True)
                rows_NEO.copy_(torch.zeros_like(rows_NEO).scatter_(2, largest_NE1, rows_NEO.gather(2, largest_NE1)))
        return kept_JN.numpy()

    def adopt(self, z_JN: Tensor, selected_JN: Tensor) -> None:
        """Take what was recovered for the gates to come."""
        self.z_JN.copy_(z_JN)
        self.selected_JN.copy_(selected_JN)
        self._note_selected()

    def _note_selected(self) -> None:
        # The same on the host, once an epoch.
        self._masks = self.masks(self.selected_JN.cpu())

    def candidates_JN(self) -> Tensor:
        """What enters each node, as booleans on the host."""
        return self.A_JMN.cpu().any(dim=1)

    def masks(self, selected_JN: Tensor) -> list[Mask]:
        """For every cell position the (edges, operations) that are selected."""
        by_name = {name: rows.any(dim=0).numpy() for name, rows in self.of_cells(selected_JN).items()}
        return [by_name[name] for name in self._problem.layout]

    def gates(self) -> list[Gates]:
        """w_S = z_S + A_S^T (b - A_S z_S), zero outside S."""
        A_JMN = self.A_JMN * self.selected_JN[:, None]
        z_JN = self.z_JN * self.selected_JN
        residual_JM = torch.stack(tuple(self.b)) - torch.einsum("jmn,jn->jm", A_JMN, z_JN)
        w_JN = z_JN + torch.einsum("jmn,jm->jn", A_JMN, residual_JM)
        # A connection enters one node, so a column of w has one entry that is not zero: the sum picks it.
        values = {name: rows.sum(dim=0) for name, rows in self.of_cells(w_JN).items()}
        return [Gates(values[name], mask) for name, mask in zip(self._problem.layout, self._masks, strict=True)]

    def of_cells(self, rows_JN: Tensor) -> dict[str, Tensor]:
        """By cell name (nodes, edges, operations), from one row for every node."""
        found, first = {}, 0
        for name, graph in self._graphs.items():
            edges, operations = len(graph.edges), len(graph.operations)
            rows = rows_JN[first : first + graph.nodes, : edges * operations]
            found[name] = rows.view(graph.nodes, edges, operations)
            first += graph.nodes
        return found


def _after_load(module: SparseCoding, _: Any) -> None:
    module._note_selected()


class ISTANAS(SearchMethod):
    """Search in the compressed space, recovery once an epoch."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingSettings):
        """Settings of the released code."""

        batch_size: int = setting(256, low=2)
        learning_rate: float = setting(0.1, low=0.0)
        architecture_learning_rate: float = setting(6e-4, low=0.0)
        """Learning rate of Adam, with betas (0.5, 0.999)."""
        architecture_weight_decay: float = setting(1e-3, low=0.0)
        sparsity: int = knob(2, 1, 7, integer=True, open_above=True)
        """s: connections that a node receives, at most. The paper's value is 2; others trade accuracy for cost
        (ours). A solution of the LASSO has no more entries than ``projections``, so more is not swept."""
        projections: int = setting(7, low=1)
        """m: length of a node's compressed vector."""
        measurement: Measurement = "uniform"
        """Law of the measurement matrices: that of the released code. ``gaussian`` (our choice) is what compressed
        sensing has its guarantees for."""
        gamma: float = setting(1e-5, low=1e-9)
        """Strength of the LASSO's penalty."""
        patience: int | None = setting(None, low=1)
        """End once every node has kept its selection for this many epochs (our choice: the released search has no
        stopping test); None means never."""

    cost_knob = CostKnob("sparsity", Range(low=1, high=7, integer=True), falls=False)
    """s of the paper, which fixes it at 2; that it is varied is our choice."""
    config: Config
    architecture_fraction = 0.5
    replayable = True

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        self.coding = SparseCoding(
            problem,
            sparsity=config.sparsity,
            projections=config.projections,
            measurement=config.measurement,
            gamma=config.gamma,
        )
        self.optimizer = torch.optim.Adam(
            self.parameters(),
            lr=config.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=config.architecture_weight_decay,
        )
        self._unchanged = 0

    def gates(self) -> list[Gates]:
        """The weights of the selected connections."""
        return self.coding.gates()

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """First b, then the weights, each on its batch and to first order."""
        assert architecture_batch is not None
        first_order_step(self, learner, batch, architecture_batch)

    def end_epoch(self, epoch: int) -> EpochEnd:
        """Recover the code of every node."""
        z_JN, selected_JN = self.coding.recover()
        same = torch.equal(selected_JN, self.coding.selected_JN.cpu())
        self._unchanged = self._unchanged + 1 if same else 0
        self.coding.adopt(z_JN, selected_JN)
        return EpochEnd(finished=self.config.patience is not None and self._unchanged >= self.config.patience)

    def architecture(self) -> Architecture:
        """The selected connections: what is searched is as sparse as what is found."""
        return architecture_of(self.problem.space, self.coding.masks(self.coding.selected_JN.cpu()))

    def metrics(self) -> dict[str, float]:
        """For how many epochs no node has changed its selection."""
        return {"unchanged_epochs": float(self._unchanged)}

    def get_extra_state(self) -> dict[str, Any]:
        """Epochs without a change."""
        return {"unchanged": self._unchanged}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self._unchanged = state["unchanged"]
