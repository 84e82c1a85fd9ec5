"""What the tests of the clusters share: a namespace for each, and native clusters only where they can run."""

import secrets
from collections.abc import Iterator

import pytest

from tests.cluster import Cluster
from tests.cluster.doctor import missing_for_native

collect_ignore = ["test_images.py", "test_native.py"] if missing_for_native() else []


@pytest.fixture
def namespace(pod_cluster: Cluster) -> Iterator[str]:
    """A namespace of the pod cluster that is the test's own."""
    name = f"test-{secrets.token_hex(3)}"
    pod_cluster.kubectl("create", "namespace", name)
    yield name
    pod_cluster.kubectl("delete", "namespace", name, "--wait=false")
