"""pytest fixtures that run the operator from the source tree against the control plane of the session.

In: the cluster. Out: the CRDs applied, a namespace for each test, one operator that most tests share, and operators
of a test's own. While a test has its own, the shared one is down: two that do not know of each other would fight.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.running.api import Api
from tests.running.operator_process import OperatorProcess
from tests.running.space import Space

ROOT = Path(__file__).resolve().parents[2]

StartOperator = Callable[..., OperatorProcess]
"""Starts an operator for the namespace of the test; takes settings by name, `kubeconfig` and `until_ready`."""


@pytest.fixture(scope="session")
def cluster_with_crds(control_plane_cluster: Cluster) -> Cluster:
    """A control plane that knows WorkerPools and QueueBrokers."""
    control_plane_cluster.kubectl("apply", "-f", str(ROOT / "crds"))
    control_plane_cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))
    return control_plane_cluster


@pytest.fixture(scope="session")
def api(cluster_with_crds: Cluster) -> Api:
    """The API server as an administrator."""
    return Api(cluster_with_crds.kubeconfig)


@pytest.fixture
def space(api: Api) -> Iterator[Space]:
    """A namespace of the test's own; removed afterwards, without waiting for it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield Space(api, name)
    api.delete("Namespace", None, name)


@pytest.fixture
def namespace(space: Space) -> str:
    """The name of the test's own namespace."""
    return space.name


@pytest.fixture(scope="session")
def shared_operator(cluster_with_crds: Cluster) -> Iterator[OperatorProcess]:
    """The operator of the session, running or not."""
    operator = OperatorProcess(cluster_with_crds.kubeconfig, lease_name="session")
    yield operator
    operator.close()


@pytest.fixture
def operator_process(shared_operator: OperatorProcess) -> OperatorProcess:
    """An operator that watches all namespaces."""
    if not shared_operator.running:
        shared_operator.start()
    return shared_operator


@pytest.fixture
def start_operator(
    shared_operator: OperatorProcess, cluster_with_crds: Cluster, namespace: str
) -> Iterator[StartOperator]:
    """Starts operators for the namespace of the test alone."""
    if shared_operator.running:
        shared_operator.stop()
    with ExitStack() as operators:

        def start(
            kubeconfig: Path = cluster_with_crds.kubeconfig, *, until_ready: bool = True, **settings: str | float
        ) -> OperatorProcess:
            restricted = {"namespaces": namespace, "lease_name": namespace} | settings
            operator = OperatorProcess(kubeconfig, **restricted)
            operators.callback(operator.close)
            operator.start(until_ready=until_ready)
            return operator

        yield start
