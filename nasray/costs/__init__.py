"""Multiply-adds and parameters: exact for an architecture, expected and differentiable for gates."""

from nasray.costs.table import CostTable, cost_table, expected_macs, macs, params
from nasray.costs.width import width_for_budget

__all__ = ["CostTable", "cost_table", "expected_macs", "macs", "params", "width_for_budget"]
