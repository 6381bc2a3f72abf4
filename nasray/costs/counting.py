"""What one forward pass costs, counted as torch dispatches it: whatever code computes something, it is not free.

Multiply-adds are half of what torch's own FLOP counter says (``torch.utils.flop_counter``), and those of a few
contractions of torch's for which it has no formula. Free by that convention is what works element by element:
normalisations, activations, pooling, sums, and the product of two tensors of one shape. For an operation from outside
of torch the counter takes the formula that its author registered with ``register_flop_formula``; without one it is
refused.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from nasray.errors import InvalidInput, reason
from nasray.networks.eager import without_compiler

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Count:
    """What one forward pass of one example costs."""

    macs: int
    params: int
    output: Shape
    """Shape of what came out, with the batch of one."""


_MOST_NUMBERS, _MOST_CHANNELS = 2**24, 256
"""In an input of what is counted on the CPU: those of the published networks for ImageNet."""


def count(module: nn.Module, x: Tensor, called: str = "the network") -> Count:
    """Cost of a module in evaluation mode, on the device on which it and its input are.

    Args:
        module: it is put into evaluation mode.
        x: a batch of one.
        called: what it is, for messages.

    Raises:
        InvalidInput: it calls an operation from outside of torch that has no formula.
    """
    module.eval()
    seen = _Seen()
    from torch.utils import flop_counter  # imports Triton, where there is one: half a second

    without_compiler(_Seen.__torch_dispatch__, flop_counter._FlopCounterMode.__torch_dispatch__)
    counter = flop_counter.FlopCounterMode(display=False, custom_mapping=_further_formulas())
    with torch.no_grad(), _without_normalisations(module), seen, counter:
        output = module(x)
    foreign = [
        packet
        for packet, namespace in seen.operations.items()
        if namespace not in _OF_TORCH and packet not in counter.flop_registry
    ]
    if foreign:
        raise InvalidInput(
            f"{called} calls {foreign[0]}, whose multiply-adds are unknown: register their formula with "
            f"torch.utils.flop_counter.register_flop_formula(torch.ops.{foreign[0]})"
        )
    return Count(macs=counter.get_total_flops() // 2, params=count_params(module), output=tuple(output.shape))


def counted_on(shape: Shape) -> str:
    """The device on which a module is counted that takes one input of a shape: what is large, on the meta device.

    To run anything there loads sympy and parts of torch's compiler, in every process a second or more: what is small
    is run on the CPU in a fraction of that.
    """
    return "cpu" if prod(shape) <= _MOST_NUMBERS and shape[0] <= _MOST_CHANNELS else "meta"


def count_built(build: Callable[[], nn.Module], shape: Shape, called: str) -> Count:
    """Cost of what a builder gives, for one input: on the meta device or, where it is small or its code needs numbers,
    on the CPU.

    The caller's random state is left alone.

    Args:
        build: gives a new module at each call.
        shape: of the input, without the batch.
        called: what it is, for messages.

    Raises:
        InvalidInput: it cannot be run on such an input, gives the same weights twice, or cannot be counted.
    """
    if counted_on(shape) == "cpu":
        module, other, found = _on_cpu(build, shape, called)
    else:
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                module, other = build(), build()
                found = count(module, torch.empty(1, *shape), called)
        except InvalidInput:
            raise
        except Exception:
            # Code that makes tensors of its own on the CPU, or looks at their values.
            module, other, found = _on_cpu(build, shape, called)
    if {id(weight) for weight in module.parameters()} & {id(weight) for weight in other.parameters()}:
        raise InvalidInput(f"{called} has the same weights each time that it is built: its builder must make new ones")
    # Of normalisations weights have one dimension.
    if not found.macs and any(sum(length > 1 for length in weight.shape) > 1 for weight in module.parameters()):
        _warn(called)
    return found


def count_params(module: nn.Module) -> int:
    """Number of parameters, each once however often it is used."""
    return sum(parameter.numel() for parameter in module.parameters())


def _on_cpu(build: Callable[[], nn.Module], shape: Shape, called: str) -> tuple[nn.Module, nn.Module, Count]:
    try:
        with torch.random.fork_rng(devices=[]), _composed():
            torch.manual_seed(0)
            module, other = build(), build()
            return module, other, count(module, torch.rand(1, *shape), called)
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(f"{called} does not run on an input of shape {(1, *shape)}: {reason(error)}") from error


@contextmanager
def _composed() -> Iterator[None]:
    """Attention as the contractions that it consists of: the CPU's fused kernels have no formula."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def _without_normalisations(module: nn.Module) -> Iterator[None]:
    """Torch's batch normalisations only pass their input on: free, and half the time of a pass on the meta device."""
    norms = [one for one in module.modules() if type(one) in _NORMALISATIONS]
    for norm in norms:
        norm.forward = _unchanged
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _unchanged(x: Tensor) -> Tensor:
    return x


_OF_TORCH = frozenset({"aten", "prim", "prims"})


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Which operations run, and whose they are; entered before the counter, it sees what that does not take apart."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: dict[Any, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations[func.overloadpacket] = func.namespace
        return func(*args, **(kwargs or {}))


@cache
def _warn(called: str) -> None:
    # Once in a process for each: an operation is counted at many sizes.
    logging.getLogger("nasray").warning(
        "event=operation_counts_nothing operation=%s reason=%s",
        json.dumps(called),
        json.dumps(
            "it has weights and counts no multiply-adds: torch's FLOP counter has no formula for what it computes; "
            "write it with matmul, einsum or a convolution to have it counted"
        ),
    )


def _further_formulas() -> dict[Any, Callable[..., int]]:
    """FLOPs, two a multiply-add, of contractions without a formula of torch's."""
    aten = torch.ops.aten
    formulas: dict[Any, Callable[..., int]] = {
        aten.mv: lambda matrix, vector, **_: 2 * prod(matrix),
        aten.addmv: lambda bias, matrix, vector, **_: 2 * prod(matrix),
        aten.dot: lambda x, y, **_: 2 * prod(x),
        aten.vdot: lambda x, y, **_: 2 * prod(x),
        aten.addbmm: lambda bias, x_BNK, y_BKM, **_: 2 * prod(x_BNK) * y_BKM[-1],
        aten._cdist_forward: lambda x_NK, y_MK, *_, **__: 2 * prod(x_NK) * y_MK[-2],
        aten._trilinear: _trilinear,
        aten.mkldnn_rnn_layer: _recurrent,
    }
    if hasattr(torch.ops.torchvision, "deform_conv2d"):  # where torchvision was imported
        formulas[torch.ops.torchvision.deform_conv2d] = _deformable
    return formulas


def _trilinear(x: Shape, y: Shape, z: Shape, *expand: Any, out_shape: Shape) -> int:
    # Each is expanded by dimensions of length 1; all are multiplied, element by element, and summed.
    ndim = len(x) + len(expand[0])
    full = [1] * ndim
    for shape, extra in zip((x, y, z), expand, strict=False):
        lengths = iter(shape)
        for dimension in range(ndim):
            if dimension not in extra:
                full[dimension] = max(full[dimension], next(lengths))
    return 2 * prod(full)


def _recurrent(x_TNC: Shape, of_input: Shape, of_state: Shape, *_: Any, **__: Any) -> int:
    return 2 * prod(x_TNC[:-1]) * (prod(of_input) + prod(of_state))


def _deformable(x_NCHW: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * out_shape[0] * prod(out_shape[2:]) * prod(weight)
