"""pytest fixtures that run the operator from the source tree against the control plane of the session.

In: the cluster. Out: the CRDs applied, a namespace for each test, and one operator for the session.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.running.operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def cluster_with_crds(control_plane_cluster: Cluster) -> Cluster:
    """A control plane that knows WorkerPools and QueueBrokers."""
    control_plane_cluster.kubectl("apply", "-f", str(ROOT / "crds"))
    control_plane_cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))
    return control_plane_cluster


@pytest.fixture
def namespace(cluster_with_crds: Cluster) -> Iterator[str]:
    """A namespace of the test's own; removed afterwards, without waiting for it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster_with_crds.kubectl("create", "namespace", name)
    yield name
    cluster_with_crds.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def operator_process(cluster_with_crds: Cluster) -> Iterator[OperatorProcess]:
    """One operator that watches all namespaces for the whole session."""
    with OperatorProcess(cluster_with_crds.kubeconfig, lease_name="session") as process:
        yield process
