"""ISTA-NAS, one-stage.

Y. Yang, H. Li, S. You, F. Wang, C. Qian, Z. Lin, "ISTA-NAS: Efficient and Consistent Neural Architecture Search by
Sparse Coding", NeurIPS 2020, arXiv:2010.06176; settings of iboing/ISTA-NAS. The search of ``ista_nas``, inside the
target network itself: at its depth, width, batch size and data, with weights and compressed variables b trained by the
same backward pass.

A node j whose code has come to rest, |z_j(new) - z_j(old)|_2 <= 1e-3 between two recoveries, is frozen: b_j and z_j
stay, and with them its connection weights w. Until then the scales gamma and shifts beta of the normalisations in the
node's operations are held at 1 and 0, for w does their work; from then on they are trained. Once all nodes are frozen
the network is trained to the end, and w goes into the normalisation that ends each operation,

    w (gamma x + beta) = (w gamma) x + (w beta),

so that the network that comes out is the evaluated one. methods.md 1.4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from nasray.costs import cost_table
from nasray.errors import InvalidInput
from nasray.gates import Gates, Mask, architecture_of
from nasray.methods.ista_nas import Measurement, SparseCoding
from nasray.methods.method import CostKnob, EpochEnd, Learner, Problem, SearchMethod, joint_step
from nasray.networks import Batch, Needs
from nasray.networks.affine import cannot_absorb
from nasray.settings import Range, TrainingSettings, knob, setting
from nasray.spaces import Architecture, CellSpace, Normalisation

NORMALISATION = Normalisation(affine=True, after_pool=True, after_identity=True)
"""Every operation ends in a scale and a shift, poolings and identities too."""


class ISTANASOneStage(SearchMethod):
    """Search and training to the end in one run.

    Our choices: as everywhere in nasray drop path spares the identity (the released code drops it here, for it is
    normalised); and the last epochs begin as soon as the last node is frozen (there, one epoch later).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TrainingSettings):
        """Settings of the released code."""

        epochs: int = setting(1200, low=2)
        """Most epochs. Nodes that have not settled ``final_epochs`` before are frozen then (our choice: the released
        code stops searching there too, but holds their normalisations to the end)."""
        final_epochs: int = setting(600, low=1)
        """Epochs after all nodes are frozen: learning rate and drop path keep their first values until then."""
        batch_size: int = setting(96, low=2)
        auxiliary_weight: float = setting(0.4, low=0.0)
        drop_path: float = setting(0.2, low=0.0, high=0.99)
        augmentation: str = "cutout"
        channels: int | None = setting(36, low=1)
        """Channels of the target network; None means the space's number for searches."""
        cells: int | None = setting(20, low=1)
        """Cells of the target network; None means the space's number for searches."""
        architecture_learning_rate: float = setting(3e-4, low=0.0)
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
        freeze_distance: float = setting(1e-3, low=0.0)
        """A node is frozen once its code moves no further in an epoch."""
        max_params: float | None = setting(3.7, low=0.0, unit="M")
        """A recovery that gives a network of this many parameters (M) or more is rejected, for all nodes; None means
        no limit. The released code guards its memory by it. Counted is what the paper counts: the network that comes
        out, its normalisations after poolings and identities included, the auxiliary head not. The architecture that
        the search begins with is not checked."""

    cost_knob = CostKnob("sparsity", Range(low=1, high=7, integer=True), falls=False)
    """s of the paper, which fixes it at 2; that it is varied is our choice. ``max_params``
    bounds what it reaches."""
    config: Config
    replayable = True

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        if config.final_epochs >= config.epochs:
            raise InvalidInput(f"final_epochs {config.final_epochs}: expected fewer than epochs {config.epochs}")
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
        self._costs = cost_table(replace(problem.space, evaluation_normalisation=NORMALISATION), problem.size)
        self._frozen = [False] * len(self.coding.b)
        self._frozen_epochs: int | None = None
        """Epochs done when the last node was frozen."""

    @classmethod
    def unsupported(cls, space: CellSpace) -> str | None:
        """Every operation must end in a normalisation that can absorb its weight."""
        reason = super().unsupported(space)
        if reason is not None:
            return reason
        for graph in space.cells.values():
            for operation in cannot_absorb(graph, NORMALISATION):
                return f"operation {operation!r} ends in no batch normalisation that could absorb its weight"
        return None

    @property
    def needs(self) -> Needs:
        """A supernet whose operations all end in an affine normalisation."""
        return Needs(normalisation=NORMALISATION)

    def schedule_epoch(self, epoch: int) -> tuple[int, int]:
        """The schedule stands at its beginning until all nodes are frozen."""
        return 0 if self._frozen_epochs is None else epoch - self._frozen_epochs, self.config.final_epochs

    def trainable_affine(self) -> list[Mask]:
        """The operations of frozen nodes, in all cells of their kind."""
        frozen_J1 = torch.tensor(self._frozen)[:, None]
        return self.coding.masks(self.coding.candidates_JN() & frozen_J1)

    @classmethod
    def trained_epochs(cls, config: TrainingSettings) -> int:
        """Those in which the architecture stands."""
        assert isinstance(config, cls.Config)
        return config.final_epochs

    def gates(self) -> list[Gates]:
        """The weights of the selected connections."""
        return self.coding.gates()

    def step(self, learner: Learner, batch: Batch, architecture_batch: Batch | None) -> None:
        """First b, then the weights, from one backward pass."""
        joint_step(self, learner, batch)

    def end_epoch(self, epoch: int) -> EpochEnd:
        """Recover the codes of the nodes that are not frozen, and freeze those that have come to rest.

        The first comparison is with the recovery before the first epoch.
        """
        done, config = epoch + 1, self.config
        if self._frozen_epochs is not None:
            return EpochEnd(finished=done == self._frozen_epochs + config.final_epochs)
        self._recover()
        if all(self._frozen) or done == config.epochs - config.final_epochs:
            self._freeze([True] * len(self._frozen))
            self._frozen_epochs = done
        return EpochEnd()

    def _recover(self) -> None:
        coding = self.coding
        z_JN, selected_JN = coding.recover()
        frozen_J1 = torch.tensor(self._frozen)[:, None]
        old_JN = coding.z_JN.cpu()
        z_JN = torch.where(frozen_J1, old_JN, z_JN)
        selected_JN = torch.where(frozen_J1, coding.selected_JN.cpu(), selected_JN)
        # As in the released code, nodes come to rest in a rejected recovery too.
        self._freeze(((z_JN - old_JN).norm(dim=1) <= self.config.freeze_distance).tolist())
        limit = self.config.max_params
        if limit is None or self._costs.params(coding.masks(selected_JN)) < limit:
            coding.adopt(z_JN, selected_JN)

    def _freeze(self, frozen: list[bool]) -> None:
        self._frozen = frozen
        for b, rests in zip(self.coding.b, frozen, strict=True):
            b.requires_grad_(not rests)

    def architecture(self) -> Architecture:
        """The selected connections."""
        return architecture_of(self.problem.space, self.coding.masks(self.coding.selected_JN.cpu()))

    def metrics(self) -> dict[str, float]:
        """How many nodes are frozen."""
        return {"frozen_nodes": float(sum(self._frozen))}

    def get_extra_state(self) -> dict[str, Any]:
        """Which nodes are frozen, and since when all are."""
        return {"frozen": self._frozen, "frozen_epochs": self._frozen_epochs}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self._freeze(state["frozen"])
        self._frozen_epochs = state["frozen_epochs"]
