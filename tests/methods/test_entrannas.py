"""EnTranNAS and EnTranNAS-DST: what is executed, against the paper's counts; eqs. 20 to 22, against plain loops."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nasray.errors import InvalidInput
from nasray.gates import Gates, candidate_mask
from nasray.methods import Batch, Problem
from nasray.methods.entrannas import EnTranNAS, EnTranNASDST, above_threshold, engine_positions, node_of_edge
from nasray.networks import Network, supernet
from nasray.spaces import CellGraph, CellSpace, NetworkSize
from search_spaces.architectures.darts import DARTS
from search_spaces.architectures.gold import GOLD
from tests.executed import executed

SIZE = NetworkSize(channels=4, cells=6, input_shape=(1, 4, 4), classes=5)
KINDS = ("normal", "normal", "reduce", "normal", "reduce", "normal")
ENGINES = {4, 5}

Method = EnTranNAS | EnTranNASDST


def made(method: type[Method], space: CellSpace = DARTS, **settings: object) -> Method:
    torch.manual_seed(0)
    return method(method.Config(**settings), Problem(space, SIZE, SIZE, seed=0))  # type: ignore[arg-type]


def randomise(method: Method, scale: float = 1.0) -> None:
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.normal_().mul_(scale)


def counted(network: Network, method: Method) -> list[Counter[str]]:
    """For every cell position how often each of its operations runs in one forward pass."""
    with executed(network) as computed:
        network(torch.randn(2, 1, 4, 4), method.gates())
    times = Counter(computed)
    return [
        Counter({name: times[one] for name, one in cell.operations.items() if one in times}) for cell in network.cells
    ]


def test_engine_cells_run_all_shared_operations_and_transit_cells_two_a_node() -> None:
    method = made(EnTranNAS)
    network = supernet(DARTS, SIZE, needs=method.needs)
    for _ in range(3):
        randomise(method)
        cells = method.architecture().cells
        for position, count in enumerate(counted(network, method)):
            assert set(count.values()) == {1}
            if position in ENGINES:
                assert len(count) == 5 * 7
            else:
                choices = cells[KINDS[position]]
                assert Counter(target for _, target, _ in choices) == {2: 2, 3: 2, 4: 2, 5: 2}
                assert set(count) == {f"{source}_{operation}" for source, _, operation in choices}


def test_without_sharing_every_edge_runs_its_own_operations() -> None:
    method = made(EnTranNAS, shared_features=False)
    counts = counted(supernet(DARTS, SIZE, needs=method.needs), method)
    assert [sum(count.values()) for count in counts] == [8, 8, 8, 8, 14 * 7, 14 * 7]


def test_dst_runs_the_same_connections_in_both_kinds_of_cell() -> None:
    method = made(EnTranNASDST, temperature=0.3)
    network = supernet(DARTS, SIZE, needs=method.needs)
    randomise(method)
    cells = method.architecture().cells
    for kind, count in zip(KINDS, counted(network, method), strict=True):
        assert set(count) == {f"{source}_{operation}" for source, _, operation in cells[kind]}
        assert set(count.values()) == {1}


def test_engine_gates_are_equation_20_and_only_they_are_differentiable() -> None:
    method = made(EnTranNAS, epochs=11, temperature=2.0, temperature_end=0.5)
    randomise(method)
    method.start_epoch(5)  # half way: sqrt(2.0 * 0.5)
    assert method.metrics() == {"temperature": pytest.approx(1.0)}
    method.start_epoch(10)
    for position, (kind, gates) in enumerate(zip(KINDS, method.gates(), strict=True)):
        assert gates.values_EO.requires_grad == (position in ENGINES)
        if position in ENGINES:
            for row, alpha in zip(gates.values_EO.tolist(), method.alphas[kind].tolist(), strict=True):
                exponentials = [math.exp(a / 0.5) for a in alpha]
                assert row == pytest.approx([e / sum(exponentials) for e in exponentials], rel=1e-5)
        else:
            assert set(gates.values_EO.unique().tolist()) == {0.0, 1.0}
            np.testing.assert_array_equal(gates.values_EO.numpy() == 1, gates.active_EO)


@pytest.mark.parametrize("method_class", [EnTranNAS, EnTranNASDST])
def test_the_temperature_is_saved_with_the_parameters(method_class: type[Method]) -> None:
    method, restored = made(method_class), made(method_class)
    randomise(method)
    method.start_epoch(40)
    restored.load_state_dict(method.state_dict())
    for one, other in zip(method.gates(), restored.gates(), strict=True):
        assert torch.equal(one.values_EO, other.values_EO)


class RecordingLearner:
    """A loss that pulls the gates of the engines about, and the gates of every loss."""

    learning_rate = 0.0

    def __init__(self) -> None:
        self.weights = [nn.Parameter(torch.ones(()))]
        self.seen: list[Sequence[Gates]] = []

    def loss(self, batch: Batch, gates: Sequence[Gates]) -> Tensor:
        self.seen.append(gates)
        return self.weights[0] * sum(((g.values_EO * batch[0]).sum() for g in gates), torch.zeros(()))

    def update(self) -> None:
        pass

    def lookahead(self, gradients: object) -> list[Tensor]:
        raise NotImplementedError


@pytest.mark.parametrize("method_class", [EnTranNAS, EnTranNASDST])
def test_transit_cells_hold_what_is_derived_at_every_half_of_a_step(method_class: type[Method]) -> None:
    method = made(method_class, architecture_learning_rate=0.5)
    learner = RecordingLearner()
    derived = []
    for _ in range(5):
        before = method.architecture()
        batch = (torch.randn(14, 8), torch.zeros(()))
        method.step(learner, batch, batch)
        derived += [before, method.architecture()]
    assert len(set(derived)) > 3  # it does change
    assert len(learner.seen) == len(derived) == 10
    for architecture, gates in zip(derived, learner.seen, strict=True):
        for position, kind in enumerate(KINDS):
            graph = DARTS.cells[kind]
            if position not in ENGINES or method_class is EnTranNASDST:
                chosen = {(*graph.edges[e], graph.operations[o]) for e, o in np.argwhere(gates[position].active_EO)}
                assert chosen == set(architecture.cells[kind])


@pytest.mark.parametrize("method_class", [EnTranNAS, EnTranNASDST])
def test_on_a_space_of_many_choices_positions_of_a_kind_choose_alike(method_class: type[Method]) -> None:
    method = made(method_class, GOLD)
    randomise(method)
    architecture = method.architecture()
    assert tuple(architecture.cells) == tuple(f"{kind}_{i}" for i, kind in enumerate(KINDS))
    by_kind = {(name.split("_")[0], choices) for name, choices in architecture.cells.items()}
    assert len(by_kind) == 2


def test_engine_positions() -> None:
    kinds = DARTS.kinds(8)
    assert engine_positions("last", kinds) == {5, 7}
    assert engine_positions("0, 2", kinds) == {0, 2}
    assert engine_positions("1,2,3", kinds) == {1, 2, 3}
    for wrong in ("0,1", "2", "0,8", "-1,2", "first", ""):
        with pytest.raises(InvalidInput, match=r"engine_cells .* positions from 0 to 7"):
            engine_positions(wrong, kinds)


def plain_qhat(logits: list[list[float]], beta: list[float], graph: CellGraph) -> list[list[float]]:
    """Eqs. 21 and 22 as they are printed, the sum over all connections of a node, `none` in the softmax alone."""
    p = [[math.exp(a) / sum(math.exp(b) for b in row) for a in row] for row in logits]
    qhat = [[0.0] * len(graph.operations) for _ in graph.edges]
    for number, node in enumerate(graph.targets):
        connections = [
            (e, o) for e in graph.incoming[node] for o, name in enumerate(graph.operations) if name != graph.none
        ]
        strongest = max(p[e][o] for e, o in connections)
        threshold = 1 / (1 + math.exp(-beta[number]))
        q = {(e, o): max(p[e][o] / strongest - threshold, 0.0) for e, o in connections}
        for (e, o), value in q.items():
            qhat[e][o] = value / sum(q.values())
    return qhat


def qhat_of(graph: CellGraph, logits: Tensor, beta: Tensor) -> Tensor:
    return above_threshold(logits, beta, torch.from_numpy(candidate_mask(graph)), node_of_edge(graph))


def test_dst_on_a_node_small_enough_for_paper_and_pencil() -> None:
    graph = CellGraph(inputs=2, nodes=1, operations=("a", "b"))
    p = torch.tensor([[0.8, 0.2], [0.6, 0.4]], dtype=torch.float64)
    beta = torch.tensor([math.log(0.4 / 0.6)], dtype=torch.float64)  # t = 0.4
    # p / 0.8 - 0.4 = 0.6, -0.15, 0.35, 0.1; the positive ones sum to 1.05.
    expected = torch.tensor([[12 / 21, 0.0], [7 / 21, 2 / 21]], dtype=torch.float64)
    torch.testing.assert_close(qhat_of(graph, p.log(), beta), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("graph", [DARTS.cells["normal"], GOLD.cells["reduce"]])
def test_dst_is_equations_21_and_22(graph: CellGraph) -> None:
    torch.manual_seed(0)
    for _ in range(20):
        logits = torch.randn(len(graph.edges), len(graph.operations), dtype=torch.float64)
        beta = torch.randn(graph.nodes, dtype=torch.float64)
        expected = torch.tensor(plain_qhat(logits.tolist(), beta.tolist(), graph), dtype=torch.float64)
        torch.testing.assert_close(qhat_of(graph, logits, beta), expected, rtol=0, atol=1e-12)


def test_dst_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    graph = DARTS.cells["normal"]
    logits = torch.randn(14, 8, dtype=torch.float64, requires_grad=True)
    beta = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: qhat_of(graph, a, b), (logits, beta))


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_dst_engine_graph_is_the_derived_graph_and_no_node_is_left_alone(scale: float) -> None:
    method = made(EnTranNASDST)
    sizes = set()
    for step in range(100):
        randomise(method, scale)
        method.start_epoch(step % 50)
        architecture = method.architecture()
        for kind, gates in zip(KINDS, method.gates(), strict=True):
            graph = DARTS.cells[kind]
            valid = {(*graph.edges[e], graph.operations[o]) for e, o in torch.nonzero(gates.values_EO > 0).tolist()}
            assert valid == set(architecture.cells[kind])
            np.testing.assert_array_equal(gates.values_EO.detach().numpy() > 0, gates.active_EO)
            assert {target for _, target, _ in valid} == set(graph.targets)
            assert "none" not in {operation for *_, operation in valid}
            assert gates.values_EO.isfinite().all()
            sizes.add(len(valid))
    assert len(sizes) > 3  # any number of connections


def test_dst_keeps_an_operation_where_none_outweighs_everything() -> None:
    method = made(EnTranNASDST, temperature=0.1)
    with torch.no_grad():
        for alpha in method.alphas.values():
            alpha[:, 0] = 100.0  # p of all others is zero in float32
        for beta in method.betas.values():
            beta.fill_(200.0)  # a threshold that is 1 in float32
    engine = method.gates()[-1]
    assert {target for _, target, _ in method.architecture().cells["normal"]} == {2, 3, 4, 5}
    gradients = torch.autograd.grad(engine.values_EO.square().sum(), list(method.parameters()), allow_unused=True)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


class SilentLearner(RecordingLearner):
    def loss(self, batch: Batch, gates: Sequence[Gates]) -> Tensor:
        return self.weights[0] * sum((0.0 * g.values_EO.sum() for g in gates), torch.zeros(()))


def test_only_the_penalty_moves_thresholds_when_the_loss_does_not() -> None:
    batch = (torch.zeros(()), torch.zeros(()))
    for strength, moves in ((0.0, False), (0.5, True)):
        method = made(EnTranNASDST, threshold_penalty=strength)
        assert isinstance(method, EnTranNASDST)
        t = 1 / (1 + math.exp(2.0))
        assert float(torch.as_tensor(method.penalty([])).detach()) == pytest.approx(strength * (1 - t), rel=1e-6)
        assert method.metrics()["threshold"] == pytest.approx(t)
        for _ in range(3):
            method.step(SilentLearner(), batch, batch)
        assert (method.metrics()["threshold"] > t + 1e-6) == moves
        assert moves or all(torch.equal(beta, torch.full_like(beta, -2.0)) for beta in method.betas.values())
