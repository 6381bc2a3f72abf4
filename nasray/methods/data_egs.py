"""DATA.

J. Chang, X. Zhang, Y. Guo, G. Meng, S. Xiang, C. Pan, "DATA: Differentiable ArchiTecture Approximation", NeurIPS
2019, which extends "Differentiable Architecture Search with Ensemble Gumbel-Softmax", arXiv:1905.01786; settings of
the released XinbangZhang/DATA-NAS. An edge carries any subset of its operations,

    o_ij(x) = sum_k A_k o_k(x),        A_k in {0, 1},

drawn in every forward pass by the ensemble Gumbel-Softmax estimator of :mod:`nasray.methods.ensemble_gumbel` from

    p_k = relu(alpha_k) / sum(relu(alpha))        or        p = softmax(alpha),

and divided by the number drawn. Architecture parameters and weights are trained alternately on two halves of the
training data, to first order; the loss of the former has the term 0.1 mean |p - A|. The architecture is, at every
node, the set of most likely candidates that M draws are most likely to give. methods.md 4.1 to 4.4.

``none`` is drawn like any other operation but never computed. In the step of the architecture parameters all other
operations are computed, whether or not they were drawn: the gradient of one that was not is what its output would have
changed, and without it the estimator is another one (``skip_undrawn``). In the step of the weights and in validation
the outputs of what was not drawn enter nothing, so it is not computed (our choice; the released code computes it there
too, which changes no gradient: it only lets momentum and weight decay still move weights that have none).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nasray.gates import Gates, Mask, architecture_of, candidate_mask, strongest_on_edges
from nasray.methods.ensemble_gumbel import Floats, Sample, most_likely_support, sample
from nasray.methods.method import (
    CostKnob,
    Learner,
    Problem,
    SearchMethod,
    architecture_loss,
    gradients,
    update_architecture,
)
from nasray.networks import Batch
from nasray.settings import Range, TrainingSettings, knob, setting
from nasray.spaces import Architecture, CellGraph, CellSpace

Indices = npt.NDArray[np.int64]
Scope = Literal["edge", "node"]


class DataEGS(SearchMethod):
    """Gates drawn by an ensemble of Gumbel-Softmax estimators.

    Suffixes: A runs over the candidates, (edge, operation), of all cells; G over the groups in which samples are
    drawn, the edges or the nodes of all cells; K over the candidates of a group, of which smaller groups have fewer.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingSettings):
        """Settings of the released code."""

        epochs: int = setting(100, low=1)
        architecture_learning_rate: float = setting(3e-4, low=0.0)
        """Learning rate of Adam, with betas (0.5, 0.999)."""
        architecture_weight_decay: float = setting(0.0, low=0.0)
        samples: int = knob(4, 1, 16, integer=True)
        """M: draws in a group, and most candidates that a node can keep. Published are searches with 1 to 9 and
        architectures for 4 and 7; 4 as the default is our choice, for the released program's 2 has no published
        result of its own."""
        probabilities: Literal["relu", "softmax"] = "relu"
        """How alpha becomes p. With softmax, ``none`` does not count in the number that divides the gates."""
        scope: Scope = "edge"
        """Whether M samples are drawn for every edge, or for every node over all operations of all its edges."""
        regulariser: float = setting(0.1, low=0.0)
        """Weight of mean |p - A| in the loss of the architecture parameters; 0 switches it off."""
        temperature: float = setting(5.0, low=1.0)
        """T of the architecture step at the start, on its straight way to 1. It is always 1 in the weight step and
        in validation."""
        temperature_epochs: int = setting(150, low=1)
        """Epochs until T would be 1, where it then stays; the published search ends before, at 2.4."""
        skip_undrawn: bool = False
        """Whether the architecture step computes only the operations that were drawn. It is faster and needs less
        memory, but is not the published estimator: operations that were not drawn get no gradient of their own."""

    cost_knob = CostKnob("samples", Range(low=1, high=16, integer=True), falls=False)
    """The paper's M, most operations that a node can keep; published are 1 to 9, the range is our choice."""
    config: Config
    architecture_fraction = 0.5
    _position_GK: Tensor
    _place_A: Tensor
    _trained_A: Tensor
    _real_A: Tensor
    _counted_GK: Tensor
    _share_GK: Tensor

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        kinds = dict(zip(problem.layout, problem.space.kinds(problem.size.cells), strict=True))
        # The released code starts from equal probabilities: relu from about 1, softmax from about 0.
        start = 1.0 if config.probabilities == "relu" else 0.0
        self.alphas = nn.ParameterDict()
        self._cells: dict[str, slice] = {}  # the entries of each cell in A
        groups: list[Indices] = []
        entry_kinds: list[str] = []
        for name, kind in kinds.items():
            graph = problem.space.graph(name)
            self.alphas[name] = nn.Parameter(start + 1e-3 * torch.randn(len(graph.edges), len(graph.operations)))
            begin, length = len(entry_kinds), self.alphas[name].numel()
            self._cells[name] = slice(begin, begin + length)
            groups += [begin + members for members in group_members(graph, config.scope)]
            entry_kinds += [kind] * length
        real = np.concatenate([candidate_mask(problem.space.graph(name)).ravel() for name in kinds])
        trained = np.ones_like(real)
        if config.scope == "node":
            # The many ``none`` of a node are one choice: the released code trains the first alone.
            for members in groups:
                trained[members[~real[members]][1:]] = False
        counted = real if config.probabilities == "softmax" else np.ones_like(real)
        share = np.array([1 / entry_kinds.count(kind) for kind in entry_kinds])

        # Ensembles draw in one table (G, K), whatever the cells' sizes: one copy to the host serves them all.
        position_GK = np.full((len(groups), max(map(len, groups))), len(real))  # in A; past its end where absent
        for row, members in zip(position_GK, groups, strict=True):
            row[: len(members)] = members
        self._absent_GK = position_GK == len(real)
        self._place = np.empty(len(real), dtype=np.int64)  # of each entry of A in the flattened (G, K)
        self._place[position_GK[~self._absent_GK]] = np.flatnonzero(~self._absent_GK)
        self._real = real
        tables = {
            "_position_GK": position_GK,
            "_place_A": self._place,
            "_trained_A": trained,
            "_real_A": real.astype(np.float32),
            "_counted_GK": np.append(counted, 0)[position_GK].astype(np.float32),
            "_share_GK": np.append(share, 0)[position_GK].astype(np.float32),
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table), persistent=False)

        self._epoch = 0
        self._generator = self._stream(0)
        self.optimizer = torch.optim.Adam(
            self.parameters(),
            lr=config.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=config.architecture_weight_decay,
        )

    @classmethod
    def unsupported(cls, space: CellSpace) -> str | None:
        """Edges must have a choice of operations."""
        for kind, graph in space.cells.items():
            if len(graph.operations) < 2:
                return f"on the edges of its {kind} cells there is one candidate, so that every sample is the same"
        return super().unsupported(space)

    def _stream(self, purpose: int) -> np.random.Generator:
        # Noise is drawn on the host, where it decides what is computed: so it is the same on every device, and the
        # same after a restart, for it depends on nothing but seed and epoch. Torch's generators are left alone.
        return np.random.default_rng([self.problem.seed, self._epoch, purpose])

    def _probabilities(self) -> Tensor:
        """p (G, K), zero where a group has no candidate."""
        alpha_A = torch.cat([alpha.flatten() for alpha in self.alphas.values()])
        alpha_A = torch.where(self._trained_A, alpha_A, alpha_A.detach())
        alpha_GK = torch.cat([alpha_A, alpha_A.new_full((1,), -torch.inf)])[self._position_GK]
        if self.config.probabilities == "softmax":
            return torch.softmax(alpha_GK, dim=1)
        positive = torch.relu(alpha_GK)
        return positive / (positive.sum(dim=1, keepdim=True) + 1e-7)

    def _sample(self, p_GK: Tensor, temperature: float, generator: np.random.Generator) -> Sample:
        noise_MGK = generator.gumbel(size=(self.config.samples, *p_GK.shape))
        noise_MGK[:, self._absent_GK] = -np.inf
        return sample(p_GK, noise_MGK, temperature, self._counted_GK)

    def _gates(self, drawn: Sample, skip_undrawn: bool = True) -> list[Gates]:
        values_A = drawn.weights_GK.flatten()[self._place_A] * self._real_A
        active_A = drawn.support_GK.ravel()[self._place] & self._real if skip_undrawn else self._real
        gates = {}
        for name, cell in self._cells.items():
            shape = self.alphas[name].shape
            gates[name] = Gates(values_A[cell].view(shape), active_A[cell].reshape(shape))
        return [gates[name] for name in self.problem.layout]

    def gates(self) -> list[Gates]:
        """A sample at temperature 1, with which the supernet is validated.

        The released code validates with a new sample for every batch, we with one for the whole split (our choice:
        gates hold for a split here). It is the epoch's own: asked again, it is the same one and disturbs nothing.
        """
        return self._gates(self._sample(self._probabilities(), 1.0, self._stream(1)))

    @property
    def temperature(self) -> float:
        """T of this epoch's architecture steps (methods.md 4.2)."""
        start, done = self.config.temperature, self._epoch / self.config.temperature_epochs
        return start - (start - 1.0) * min(done, 1.0)

    def start_epoch(self, epoch: int) -> None:
        """The epoch's temperature and noise."""
        self._epoch = epoch
        self._generator = self._stream(0)

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """First the architecture parameters, then the weights, each under a sample of its own (methods.md 4.3)."""
        assert architecture_batch is not None
        p_GK = self._probabilities()
        drawn = self._sample(p_GK, self.temperature, self._generator)
        gates = self._gates(drawn, self.config.skip_undrawn)
        loss = architecture_loss(learner, architecture_batch, gates) + self.regularisation(p_GK, drawn)
        update_architecture(self, gradients(self, loss))
        with torch.no_grad():
            gates = self._gates(self._sample(self._probabilities(), 1.0, self._generator))
        torch.autograd.backward(learner.loss(batch, gates))
        learner.update()

    def regularisation(self, p_GK: Tensor, drawn: Sample) -> Tensor:
        """0.1 mean |p - A|, summed over the kinds of cell, with A the weights drawn, a constant to the gradient.

        Where every position has a choice of its own, the mean goes over all cells of a kind (our choice).
        """
        distance_GK = (p_GK - drawn.weights_GK.detach()).abs()
        return self.config.regulariser * (distance_GK * self._share_GK).sum()

    def architecture(self) -> Architecture:
        """What the samples of every node are most likely to be (methods.md 4.4)."""
        with torch.no_grad():
            p_A = self._probabilities().double().cpu().numpy().ravel()[self._place]
        masks = {}
        for name, cell in self._cells.items():
            p_EO = p_A[cell].reshape(self.alphas[name].shape)
            masks[name] = derive_cell(self.problem.space.graph(name), p_EO, self.config.samples)
        return architecture_of(self.problem.space, [masks[name] for name in self.problem.layout])

    def metrics(self) -> dict[str, float]:
        """The architecture step's temperature, and the mean entropy (nats) of p."""
        with torch.no_grad():
            entropy = torch.special.entr(self._probabilities()).sum(dim=1).mean()
        return {"temperature": self.temperature, "entropy": float(entropy)}

    def get_extra_state(self) -> dict[str, Any]:
        """The epoch, on which temperature and noise depend."""
        return {"epoch": self._epoch}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._epoch = state["epoch"]


def group_members(graph: CellGraph, scope: Scope) -> list[Indices]:
    """The candidates among which each ensemble of a cell draws, as positions in its flattened (edges, operations)."""
    index_EO = np.arange(len(graph.edges) * len(graph.operations)).reshape(len(graph.edges), -1)
    if scope == "edge":
        return list(index_EO)
    return [index_EO[list(edges)].ravel() for edges in graph.incoming.values()]


def derive_cell(graph: CellGraph, p_EO: Floats, samples: int) -> Mask:
    """The derivation of methods.md 4.4 at every node, over all operations of all its edges.

    The ``none`` of all edges are one candidate, which is left out if it is kept. Where nothing else is kept, the most
    likely operation is (our choice: every node of an architecture receives something here). Where every edge takes one
    operation, the most likely one of each edge, ``none`` among them (our choice).
    """
    if graph.one_per_edge:
        return strongest_on_edges(graph, p_EO)
    real = candidate_mask(graph)
    mask = np.zeros_like(real)
    for edges in map(list, graph.incoming.values()):
        candidates = [(edge, operation) for edge in edges for operation in np.flatnonzero(real[edge])]
        p = np.array([p_EO[candidate] for candidate in candidates])
        none = p_EO[edges][~real[edges]].sum()
        kept = most_likely_support(np.append(none, p), samples) - 1
        for index in kept[kept >= 0] if kept.max() >= 0 else [p.argmax()]:
            mask[candidates[index]] = True
    return mask
