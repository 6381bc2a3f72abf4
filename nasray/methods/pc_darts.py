"""PC-DARTS.

Y. Xu, L. Xie, X. Zhang, X. Chen, G.-J. Qi, Q. Tian, H. Xiong, "PC-DARTS: Partial Channel Connections for
Memory-Efficient Architecture Search", ICLR 2020, arXiv:1907.05737; settings of yuhuixu1993/PC-DARTS. Operations see
the first 1/K of the channels and the others bypass them,

    f_ij(x_i) = sum_o softmax(alpha_ij)_o o(S_ij * x_i) + (1 - S_ij) * x_i,

and edges are normalised over the incoming edges of a node,

    x_j = sum_{i<j} softmax(beta_j)_i f_ij(x_i).

A gate carries both softmaxes. Their sum over the operations of an edge is softmax(beta_j)_i, which is what the bypass
weighs: so the gates alone tell the supernet all. methods.md 0.8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nasray.gates import Gates, architecture_of, candidate_mask
from nasray.methods.darts import derive
from nasray.methods.method import CostKnob, Learner, Problem, SearchMethod, first_order_step, weight_step
from nasray.networks import Batch, Needs
from nasray.settings import Range, TrainingSettings, knob, setting
from nasray.spaces import Architecture, CellSpace


class PCDARTS(SearchMethod):
    """Two softmaxes, over the operations of an edge and over the edges of a node, on some of the channels."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingSettings):
        """Settings of the released code's search on CIFAR-10."""

        batch_size: int = setting(256, low=2)
        learning_rate: float = setting(0.1, low=0.0)
        learning_rate_min: float = setting(0.0, low=0.0)
        channel_fraction: int = setting(4, low=1)
        """K: operations see 1/K of the channels. 4 on CIFAR-10, 2 on ImageNet."""
        frozen: float = setting(0.3, low=0.0, high=0.99)
        """Share of the epochs, from the first, in which only weights are trained: 15 of 50 on CIFAR-10, 35 of 50 on
        ImageNet. A share rather than a number, so that a shorter search does not end before its architecture
        parameters begin (our choice)."""
        architecture_learning_rate: float = setting(6e-4, low=0.0)
        """Learning rate of Adam, with betas (0.5, 0.999). 6e-3 on ImageNet."""
        architecture_weight_decay: float = setting(1e-3, low=0.0)
        edges_per_node: int = knob(2, 1, 8, integer=True)
        """Edges kept at each node when deriving. The paper's value is 2; others trade accuracy for cost (ours). Without
        effect where the space gives every edge one operation."""

    cost_knob = CostKnob("edges_per_node", Range(low=1, high=8, integer=True), falls=False)
    """Our choice: the papers keep 2. It moves nothing where the space gives every edge one operation."""
    config: Config
    architecture_fraction = 0.5
    replayable = True

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        self.alphas = nn.ParameterDict()
        """Cell name to (edges, operations)."""
        self.betas = nn.ParameterDict()
        """Cell name to (edges,)."""
        self._graphs = {name: problem.space.graph(name) for name in dict.fromkeys(problem.layout)}
        for name, graph in self._graphs.items():
            self.alphas[name] = nn.Parameter(1e-3 * torch.randn(len(graph.edges), len(graph.operations)))
            self.betas[name] = nn.Parameter(1e-3 * torch.randn(len(graph.edges)))
            into_NE = torch.tensor([[target == node for _, target in graph.edges] for node in graph.targets])
            self.register_buffer(f"into_{name}", into_NE, persistent=False)
        self._masks = {name: candidate_mask(graph) for name, graph in self._graphs.items()}
        self._frozen = False  # set again at the start of every epoch: nothing to save
        self.optimizer = torch.optim.Adam(
            self.parameters(),
            lr=config.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=config.architecture_weight_decay,
        )

    @classmethod
    def unsupported(cls, space: CellSpace) -> str | None:
        """Only feature maps have channels that can bypass an operation."""
        if space.task != "classification":
            return f"its task is {space.task}, and only feature maps of images have channels to bypass"
        return super().unsupported(space)

    @property
    def needs(self) -> Needs:
        """Partial channels."""
        return Needs(channel_fraction=self.config.channel_fraction)

    def gates(self) -> list[Gates]:
        """softmax(alpha) over the operations of an edge, times softmax(beta) over the edges into its node."""
        by_name = {name: Gates(self._strengths(name), mask) for name, mask in self._masks.items()}
        return [by_name[name] for name in self.problem.layout]

    def _strengths(self, name: str) -> Tensor:
        shares_E = softmax_into(self.betas[name], self.get_buffer(f"into_{name}"))
        return torch.softmax(self.alphas[name], dim=1) * shares_E[:, None]

    def start_epoch(self, epoch: int) -> None:
        """Architecture parameters are frozen in the first epochs."""
        self._frozen = epoch < round(self.config.frozen * self.config.epochs)

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """As DARTS to first order, the weights alone while architecture parameters are frozen."""
        assert architecture_batch is not None
        if self._frozen:
            weight_step(self, learner, batch)
        else:
            first_order_step(self, learner, batch, architecture_batch)

    def architecture(self) -> Architecture:
        """DARTS's rule on the product of both softmaxes."""
        masks = {}
        with torch.no_grad():
            for name, graph in self._graphs.items():
                masks[name] = derive(graph, self._strengths(name).double().cpu().numpy(), self.config.edges_per_node)
        return architecture_of(self.problem.space, [masks[name] for name in self.problem.layout])


def softmax_into(beta_E: Tensor, into_NE: Tensor) -> Tensor:
    """Softmax over the edges into each node. into_NE: whether an edge ends in a node."""
    # Every edge ends in one node, so its column holds one number that is not zero.
    return torch.softmax(beta_E.masked_fill(~into_NE, -torch.inf), dim=1).sum(dim=0)
