"""EnTranNAS and EnTranNAS-DST.

Y. Yang, S. You, H. Li, F. Wang, C. Qian, Z. Lin, "Towards Improving the Consistency, Efficiency, and Flexibility of
Differentiable Neural Architecture Search", CVPR 2021, arXiv:2101.11342. No code is public; the equations are those of
A. Heuillet, A. Nasser, H. Arioui, H. Tabia, "Efficient Automation of Neural Network Design: A Survey on
Differentiable Neural Architecture Search", section 4.1, by their numbers there. methods.md 2.

Cells are of two kinds. An Engine-cell holds all operations, mixed by a softmax with a temperature (eq. 20):

    p_ij^k = exp(alpha_ij^k / tau) / sum_k' exp(alpha_ij^k' / tau),    x_j = sum_{i<j} sum_k p_ij^k o_i^k(x_i).

All others are Transit-cells, which hold the architecture derived from alpha now, derived again at every step:

    x_j = sum_{(i,k) in S_j} o_i^k(x_i).

In both, operation k on node i is computed once, for all later nodes (o_i^k, not o_ij^k). EnTranNAS derives S_j by
DARTS's rule. EnTranNAS-DST learns a threshold t_j = sigmoid(beta_j) for every node (eqs. 21 and 22):

    q_ij^k = ReLU(p_ij^k / max_{i<j,k} p_ij^k - t_j),    qhat_ij^k = q_ij^k / sum_{i<j,k} q_ij^k,

puts qhat in place of p, and derives S_j = {(i,k): qhat_ij^k > 0}: any number of connections, never none, and the same
in Engine-cells and Transit-cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.gates import Gates, Mask, architecture_of, binary_gates, candidate_mask, strongest_on_edges
from nasray.methods.darts import derive
from nasray.methods.method import CostKnob, Learner, Problem, SearchMethod, first_order_step
from nasray.networks import Batch, Needs
from nasray.settings import Range, TrainingSettings, knob, setting
from nasray.spaces import Architecture, CellGraph, CellSpace


@dataclass(frozen=True, kw_only=True)
class EngineSettings(TrainingSettings):
    """Settings of both searches. The paper does not give them: the defaults of training are those of PC-DARTS, a
    search on the same space with as small a supernet (our choice)."""

    batch_size: int = setting(256, low=2)
    learning_rate: float = setting(0.1, low=0.0)
    learning_rate_min: float = setting(0.0, low=0.0)
    architecture_learning_rate: float = setting(6e-4, low=0.0)
    """Learning rate of Adam, with betas (0.5, 0.999)."""
    architecture_weight_decay: float = setting(1e-3, low=0.0)
    """Weight decay of alpha."""
    engine_cells: str = "last"
    """Positions of the Engine-cells counted from 0, as in ``"5,7"``, one of each kind at least; or ``last``, the last
    of each kind (our choice: an engine deep in the network sees the features that the target network sees)."""
    shared_features: bool = True
    """Whether an operation on a node is computed once for all later nodes, as in the paper."""
    temperature: float = setting(1.0, low=1e-3)
    """tau in the first epoch."""
    temperature_end: float = setting(0.1, low=1e-3)
    """tau in the last epoch; it falls exponentially (our choice: that it is annealed is known, its schedule not)."""

    def tau(self, epoch: int) -> float:
        """Temperature of an epoch, counted from 0."""
        done = epoch / max(self.epochs - 1, 1)
        return float(self.temperature * (self.temperature_end / self.temperature) ** done)


class EnTranNAS(SearchMethod):
    """A softmax in Engine-cells, the architecture that it derives in Transit-cells.

    Every kind of cell has one table of architecture parameters, also on a space where every position may choose for
    itself: all positions of a kind get the same choice there (our choice: parameters of a cell that is never an
    engine would never be trained).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(EngineSettings):
        """Settings of EnTranNAS."""

        edges_per_node: int = knob(2, 1, 8, integer=True)
        """Edges kept at each node when deriving. The paper's value is 2; others trade accuracy for cost (ours). Without
        effect where the space gives every edge one operation."""

    cost_knob = CostKnob("edges_per_node", Range(low=1, high=8, integer=True), falls=False)
    """Our choice: the papers keep 2. It moves nothing where the space gives every edge one operation."""
    config: Config
    architecture_fraction = 0.5

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        self._kinds = problem.space.kinds(problem.size.cells)
        self._engines = engine_positions(config.engine_cells, self._kinds)
        self.alphas = architecture_parameters(problem)
        self.optimizer = torch.optim.Adam(
            self.parameters(),
            lr=config.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=config.architecture_weight_decay,
        )
        self._epoch = 0

    @classmethod
    def unsupported(cls, space: CellSpace) -> str | None:
        """The paper shares features of image cells."""
        if space.task != "classification":
            return f"its task is {space.task}, and the paper's features are of images"
        return super().unsupported(space)

    @property
    def needs(self) -> Needs:
        """Feature sharing."""
        return Needs(shared_features=self.config.shared_features)

    def gates(self) -> list[Gates]:
        """p in Engine-cells; in Transit-cells 1 for what is derived from it."""
        p = self._p()
        engine = {kind: Gates(p_EO, candidate_mask(self.problem.space.cells[kind])) for kind, p_EO in p.items()}
        return gates_by_position(self._kinds, self._engines, engine, self._derived(p))

    def _p(self) -> dict[str, Tensor]:
        tau = self.config.tau(self._epoch)
        return {kind: torch.softmax(alpha / tau, dim=1) for kind, alpha in self.alphas.items()}

    def _derived(self, p: Mapping[str, Tensor]) -> dict[str, Mask]:
        masks = {}
        for kind, p_EO in p.items():
            # The step waits here for the device, as the method asks: what Transit-cells compute must be known on the
            # host. It is (edges x operations) numbers of each kind, 14 x 8 in the DARTS space.
            strengths_EO = p_EO.detach().double().cpu().numpy()
            masks[kind] = derive(self.problem.space.cells[kind], strengths_EO, self.config.edges_per_node)
        return masks

    def start_epoch(self, epoch: int) -> None:
        """The temperature falls epoch by epoch."""
        self._epoch = epoch

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """As DARTS to first order; what Transit-cells hold is derived before either half."""
        assert architecture_batch is not None
        first_order_step(self, learner, batch, architecture_batch)

    def architecture(self) -> Architecture:
        """What Transit-cells hold."""
        derived = self._derived(self._p())
        return architecture_of(self.problem.space, [derived[kind] for kind in self._kinds])

    def metrics(self) -> dict[str, float]:
        """The temperature."""
        return {"temperature": self.config.tau(self._epoch)}

    def get_extra_state(self) -> dict[str, Any]:
        """The epoch that the temperature is of."""
        return {"epoch": self._epoch}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._epoch = state["epoch"]


class EnTranNASDST(SearchMethod):
    """Thresholded gates in Engine-cells, the connections above their thresholds in Transit-cells.

    Open points settled by us: p is a softmax per edge, as in eq. 20. ``none`` competes in the softmax of its edge and
    nowhere else: the largest p, the thresholds and the sum are of the operations that can be computed, so that it
    weakens an edge, is never derived, and never is all that a node keeps. Cells share choices as in
    :class:`EnTranNAS`. Where the space gives every edge one operation, that is the strongest of those above the
    threshold or, where there are none, ``none``: Engine-cells may then hold more than Transit-cells.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(EngineSettings):
        """Settings of EnTranNAS-DST."""

        beta: float = setting(-2.0, low=-20.0, high=20.0)
        """beta at the start; a threshold is sigmoid(beta) (our choice: at 0.12 of the strongest connection all others
        survive at first). It has no weight decay, which would pull thresholds to 0.5 (our choice)."""
        threshold_penalty: float = knob(0.0, 0.0, 10.0)
        """Weight of mean(1 - t), which rewards high thresholds and so few connections (our choice; 0: the paper's
        equations alone)."""

    cost_knob = CostKnob("beta", Range(low=-4.0, high=8.0), falls=True)
    """Our choice: where the thresholds begin, from 0.02 to 0.9997 of a node's strongest connection. It moves the cost
    of short searches too, in which ``threshold_penalty`` hardly moves a threshold."""
    config: Config
    architecture_fraction = 0.5

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        self._kinds = problem.space.kinds(problem.size.cells)
        self._engines = engine_positions(config.engine_cells, self._kinds)
        self.alphas = architecture_parameters(problem)
        self.betas = nn.ParameterDict()
        for kind in self.alphas:
            graph = problem.space.cells[kind]
            self.betas[kind] = nn.Parameter(torch.full((graph.nodes,), config.beta))
            self.register_buffer(f"candidates_{kind}", torch.from_numpy(candidate_mask(graph)), persistent=False)
            self.register_buffer(f"node_{kind}", node_of_edge(graph), persistent=False)
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.alphas.parameters(), "weight_decay": config.architecture_weight_decay},
                {"params": self.betas.parameters(), "weight_decay": 0.0},
            ],
            lr=config.architecture_learning_rate,
            betas=(0.5, 0.999),
        )
        self._epoch = 0

    @classmethod
    def unsupported(cls, space: CellSpace) -> str | None:
        """As of EnTranNAS."""
        return EnTranNAS.unsupported(space)

    @property
    def needs(self) -> Needs:
        """Feature sharing."""
        return Needs(shared_features=self.config.shared_features)

    def gates(self) -> list[Gates]:
        """qhat in Engine-cells; in Transit-cells 1 for what is derived from it: where it is above zero."""
        engine = self._engine()
        return gates_by_position(self._kinds, self._engines, engine, self._derived(engine))

    def _derived(self, engine: Mapping[str, Gates]) -> dict[str, Mask]:
        masks = {}
        for kind, gates in engine.items():
            graph, masks[kind] = self.problem.space.cells[kind], gates.active_EO
            if graph.one_per_edge:
                strengths_EO = gates.values_EO.detach().cpu().numpy()
                masks[kind] = strongest_on_edges(graph, strengths_EO, gates.active_EO)
        return masks

    def _engine(self) -> dict[str, Gates]:
        engine = {}
        for kind, alpha in self.alphas.items():
            qhat = above_threshold(
                alpha / self.config.tau(self._epoch),
                self.betas[kind],
                self.get_buffer(f"candidates_{kind}"),
                self.get_buffer(f"node_{kind}"),
            )
            # As in EnTranNAS, the step waits here for a few numbers to be known on the host.
            engine[kind] = Gates(qhat, (qhat.detach() > 0).cpu().numpy())
        return engine

    def penalty(self, gates: Sequence[Gates]) -> Tensor | float:
        """``threshold_penalty`` * mean(1 - t) over all nodes."""
        return self.config.threshold_penalty * (1 - self._thresholds().mean())

    def _thresholds(self) -> Tensor:
        return torch.sigmoid(torch.cat(list(self.betas.values())))

    def start_epoch(self, epoch: int) -> None:
        """The temperature falls epoch by epoch."""
        self._epoch = epoch

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """As DARTS to first order, alpha and beta together; what Transit-cells hold is derived before either half."""
        assert architecture_batch is not None
        first_order_step(self, learner, batch, architecture_batch)

    def architecture(self) -> Architecture:
        """What Transit-cells hold."""
        with torch.no_grad():
            derived = self._derived(self._engine())
        return architecture_of(self.problem.space, [derived[kind] for kind in self._kinds])

    def metrics(self) -> dict[str, float]:
        """The temperature and the mean threshold."""
        return {"temperature": self.config.tau(self._epoch), "threshold": float(self._thresholds().detach().mean())}

    def get_extra_state(self) -> dict[str, Any]:
        """The epoch that the temperature is of."""
        return {"epoch": self._epoch}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._epoch = state["epoch"]


def architecture_parameters(problem: Problem) -> nn.ParameterDict:
    """alpha (edges, operations) of every kind of cell, near zero as in DARTS."""
    graphs = {kind: problem.space.cells[kind] for kind in dict.fromkeys(problem.space.kinds(problem.size.cells))}
    return nn.ParameterDict(
        {kind: nn.Parameter(1e-3 * torch.randn(len(g.edges), len(g.operations))) for kind, g in graphs.items()}
    )


def engine_positions(chosen: str, kinds: Sequence[str]) -> frozenset[int]:
    """Positions of the Engine-cells, as ``engine_cells`` chooses them among the cells of a network.

    Raises:
        InvalidInput: no list of positions, one outside the network, or a kind of cell without an engine.
    """
    last = {kind: position for position, kind in enumerate(kinds)}
    if chosen == "last":
        return frozenset(last.values())
    accepted = f"expected 'last' or positions from 0 to {len(kinds) - 1}, one of each kind ({', '.join(kinds)})"
    try:
        positions = frozenset(int(position) for position in chosen.split(","))
    except ValueError:
        raise InvalidInput(f"engine_cells {chosen!r}: {accepted}") from None
    if not positions <= set(range(len(kinds))) or {kinds[position] for position in positions} != set(kinds):
        raise InvalidInput(f"engine_cells {chosen!r}: {accepted}")
    return positions


def gates_by_position(
    kinds: Sequence[str], engines: frozenset[int], engine: Mapping[str, Gates], derived: Mapping[str, Mask]
) -> list[Gates]:
    """For every position the gates of its kind's engine, or as a Transit-cell what is derived from them."""
    device = engine[kinds[0]].values_EO.device
    transit = binary_gates([derived[kind] for kind in kinds], device)
    return [engine[kind] if p in engines else transit[p] for p, kind in enumerate(kinds)]


def node_of_edge(graph: CellGraph) -> Tensor:
    """(edges,): number of the intermediate node in which each edge ends, counted from 0."""
    return torch.tensor([target - graph.inputs for _, target in graph.edges])


def above_threshold(logits_EO: Tensor, beta_N: Tensor, candidates_EO: Tensor, node_E: Tensor) -> Tensor:
    """qhat (edges, operations): eqs. 21 and 22 on p = softmax of the logits of each edge.

    Written with differences of log p and with 1 - t = sigmoid(-beta): the strongest connection of a node has then
    q = 1 - t exactly, however small p or 1 - t may be.
    """
    room_N = torch.sigmoid(-beta_N.clamp(max=80.0))  # 1 - t, which beyond would be zero in float32
    log_p_EO = torch.log_softmax(logits_EO, dim=1).masked_fill(~candidates_EO, -math.inf)
    into_NE = node_E == torch.arange(len(beta_N), device=node_E.device)[:, None]
    strongest_N = torch.where(into_NE, log_p_EO.amax(dim=1), -math.inf).amax(dim=1)
    q_EO = torch.relu(torch.expm1(log_p_EO - strongest_N[node_E, None]) + room_N[node_E, None])
    sum_N = torch.where(into_NE, q_EO.sum(dim=1), 0.0).sum(dim=1)
    return q_EO / sum_N[node_E, None]
