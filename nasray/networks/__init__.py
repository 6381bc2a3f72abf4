"""What runs: operations, cells, supernets and target networks."""

from nasray.networks.needs import Needs
from nasray.networks.network import Batch, Network, supernet, target_network

__all__ = ["Batch", "Needs", "Network", "supernet", "target_network"]
