"""A release that runs: the operator's own image, in the chart, on a cluster with pods."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.chart.rendering import CHART, ROOT
from tests.cluster import Cluster, ClusterError, with_node

pytestmark = [pytest.mark.pods, pytest.mark.timeout(900)]

NAME = "workerpool-operator"


@pytest.fixture(scope="module")
def pod_cluster() -> Iterator[Cluster]:
    """A cluster of our own: one release may own the CRDs, and other tests install theirs in the shared one."""
    with with_node() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def installed(pod_cluster: Cluster) -> Iterator[str]:
    """The namespace of a release whose pods are ready."""
    image = pod_cluster.build_image("workerpool-operator:dev", ROOT / "operator" / "Dockerfile", ROOT)
    repository, _, tag = image.rpartition(":")
    namespace = f"chart-{uuid4().hex[:8]}"
    pod_cluster.kubectl("create", "namespace", namespace)
    pod_cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    values = f"image.repository={repository},image.tag={tag},leaderElection.leaseName=scaler,settings.logFormat=text"
    words = ("--namespace", namespace, "--set", values, "--wait", "--timeout", "120s")
    try:
        pod_cluster.helm("install", NAME, str(CHART), *words)
    except ClusterError as error:
        about = (("get", "pods"), ("logs", "--selector", "app.kubernetes.io/component=operator", "--tail=30"))
        facts = [pod_cluster.kubectl(*question, "--namespace", namespace, check=False) for question in about]
        raise ClusterError("\n".join([str(error), *facts])) from error
    yield namespace
    pod_cluster.helm("uninstall", NAME, "--namespace", namespace, "--wait")
    pod_cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def test_helm_test_passes_and_cleans_up(pod_cluster: Cluster, installed: str) -> None:
    told = pod_cluster.helm("test", NAME, "--namespace", installed, "--timeout", "120s")
    assert "Phase:          Succeeded" in told
    assert pod_cluster.kubectl("get", "pods", "--namespace", installed, "--output", "name").count(f"{NAME}-test") == 0


def test_one_of_two_pods_leads_under_the_given_name(pod_cluster: Cluster, installed: str) -> None:
    pods = json.loads(pod_cluster.kubectl("get", "pods", "--namespace", installed, "--output", "json"))["items"]
    lease = json.loads(pod_cluster.kubectl("get", "lease", "scaler", "--namespace", installed, "--output", "json"))
    assert len(pods) == 2
    assert lease["spec"]["holderIdentity"] in {pod["metadata"]["name"] for pod in pods}


def test_the_operator_is_refused_nothing(pod_cluster: Cluster, installed: str) -> None:
    selector = "app.kubernetes.io/component=operator"
    logs = pod_cluster.kubectl("logs", "--namespace", installed, "--selector", selector, "--tail=-1")
    assert "forbidden" not in logs.lower()
    assert "traceback" not in logs.lower()


def test_the_image_writes_nothing_and_is_nobody(pod_cluster: Cluster, installed: str) -> None:
    def inside(*words: str) -> str:
        return pod_cluster.kubectl("exec", "--namespace", installed, f"deployment/{NAME}", "--", *words).strip()

    assert inside("id", "-u") == "65532"
    assert inside("python3", "-c", "import importlib.util as u; print(u.find_spec('pip'))") == "None"
    script = "import pathlib; pathlib.Path('/opt/operator/x').write_text('')"
    failed = pod_cluster.kubectl(
        *("exec", "--namespace", installed, f"deployment/{NAME}", "--", "python3", "-c"),
        f"try:\n {script}\nexcept OSError as e:\n print(e.strerror)",
    )
    assert failed.strip() == "Read-only file system"
