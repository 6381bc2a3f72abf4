"""Multiply-adds and parameters: exact for an architecture, expected and differentiable for gates. Latency: measured."""

from nasray.costs.budget import Budget
from nasray.costs.latency import Latency, Repeats, architecture_latency, network_latency
from nasray.costs.smallest import smallest_macs, smallest_masks
from nasray.costs.table import CostTable, cost_table, expected_macs, macs, params

__all__ = [
    "Budget",
    "CostTable",
    "Latency",
    "Repeats",
    "architecture_latency",
    "cost_table",
    "expected_macs",
    "macs",
    "network_latency",
    "params",
    "smallest_macs",
    "smallest_masks",
]
