"""Clusters for pytest, one of each kind for a whole session; registered by the conftest of `tests/`.

Tests that share a cluster work in namespaces of their own.
"""

from collections.abc import Iterator

import pytest

from tests.cluster import Cluster, control_plane, with_node


@pytest.fixture(scope="session")
def control_plane_cluster() -> Iterator[Cluster]:
    """A cluster whose pods may stay pending."""
    with control_plane() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def pod_cluster() -> Iterator[Cluster]:
    """A cluster that runs pods."""
    with with_node() as cluster:
        yield cluster
