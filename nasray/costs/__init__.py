"""Multiply-adds and parameters: exact for an architecture, expected and differentiable for gates."""

from nasray.costs.table import CostTable, cost_table, expected_macs, macs, params

__all__ = ["CostTable", "cost_table", "expected_macs", "macs", "params"]
