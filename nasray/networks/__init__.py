"""What runs: operations, cells, supernets and target networks."""

from nasray.networks.network import Network, supernet, target_network

__all__ = ["Network", "supernet", "target_network"]
