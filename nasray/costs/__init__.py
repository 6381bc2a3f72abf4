"""Multiply-adds and parameters: exact for an architecture, expected and differentiable for gates. Latency: measured."""

from nasray.costs.latency import Latency, Repeats, architecture_latency, network_latency
from nasray.costs.table import CostTable, cost_table, expected_macs, macs, params
from nasray.costs.width import width_for_budget

__all__ = [
    "CostTable",
    "Latency",
    "Repeats",
    "architecture_latency",
    "cost_table",
    "expected_macs",
    "macs",
    "network_latency",
    "params",
    "width_for_budget",
]
