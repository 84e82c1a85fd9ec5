"""Namespaces for the tests of the clusters themselves."""

import secrets
from collections.abc import Iterator

import pytest

from tests.cluster import Cluster


@pytest.fixture
def namespace(pod_cluster: Cluster) -> Iterator[str]:
    """A namespace of the pod cluster that is the test's own."""
    name = f"test-{secrets.token_hex(3)}"
    pod_cluster.kubectl("create", "namespace", name)
    yield name
    pod_cluster.kubectl("delete", "namespace", name, "--wait=false")
