"""Torch's compiler is left alone where nothing is compiled."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


def without_compiler(*functions: Callable[..., Any]) -> None:
    """Let functions of torch that are hidden from its compiler run without loading it.

    Torch marks them by a wrapper that loads the whole compiler at the first call, to have it step aside: one to three
    seconds in every process, as every optimiser and every count of multiply-adds calls some. What the wrapper keeps of
    that first call is set here beforehand, to the function itself. Where torch calls it otherwise, nothing is gained
    and nothing lost.
    """
    for function in functions:
        plain = getattr(function, "__wrapped__", None)
        if plain is not None and not hasattr(plain, "__dynamo_disable"):
            plain.__dict__["__dynamo_disable"] = plain


without_compiler(Optimizer.add_param_group, Optimizer.zero_grad, Optimizer.state_dict, Optimizer.load_state_dict)


def step(optimizer: Optimizer) -> None:
    """``optimizer.step()``; of one of torch's own, which nothing is hooked to, without what loads the compiler."""
    kind = type(optimizer)
    watched = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks or "step" in vars(optimizer)
    if watched or not kind.__module__.startswith("torch.optim."):
        optimizer.step()
        return
    with torch.no_grad():
        inspect.unwrap(kind.step)(optimizer)
