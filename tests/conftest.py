"""Fixtures and switches for the whole suite."""

from __future__ import annotations

import os

import pytest
import torch


def pytest_configure() -> None:
    # Two cores: trials and tests beside each other would fight for more threads than there are.
    torch.set_num_threads(min(2, os.cpu_count() or 1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
