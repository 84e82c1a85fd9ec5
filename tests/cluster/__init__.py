"""Kubernetes clusters for the demo and the tests, with whatever the machine offers.

`control_plane()` and `with_node()` give clusters that end with the block, or with this process at the latest. `up()`
and `down()` are for clusters that stay. WORKERPOOL_CLUSTER=current names the user's current context; else kind is
used where a Docker engine answers, else real Kubernetes binaries in namespaces of this machine.
"""

from tests.cluster.choice import control_plane, down, find, up, with_node
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError

__all__ = ["Cluster", "ClusterError", "control_plane", "down", "find", "up", "with_node"]
