"""The life of a release on a real API server: installed, upgraded, uninstalled, and installed again.

Pods stay pending here; test_running.py has the ones that run.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.chart.rendering import CHART, MAXIMAL
from tests.cluster import Cluster, ClusterError, control_plane
from tests.cluster.poll import until

pytestmark = pytest.mark.apiserver

NAME = "workerpool-operator"
CRDS = ("workerpools.workerpool.dev", "queuebrokers.workerpool.dev")
POOL = """
apiVersion: workerpool.dev/v1alpha1
kind: WorkerPool
metadata:
  name: video
spec:
  scaleTargetRef:
    name: video-worker
  maxReplicas: 10
  queues:
    - name: render
      broker:
        redis:
          url: redis://redis:6379/0
      redisList:
        key: video
  scaling:
    backlog:
      jobs: 2
"""


class Release:
    """One release in a namespace of its own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def helm(self, verb: str, *words: str, name: str = NAME) -> str:
        return self.cluster.helm(verb, name, *words, "--namespace", self.namespace)

    def install(self, *words: str, name: str = NAME) -> str:
        return self.helm("install", str(CHART), *words, name=name)

    def upgrade(self, *words: str) -> str:
        return self.helm("upgrade", str(CHART), *words)

    def uninstall(self, name: str = NAME) -> str:
        return self.helm("uninstall", "--wait", name=name)

    def get(self, *words: str) -> Any:
        return json.loads(self.cluster.kubectl("get", *words, "--namespace", self.namespace, "--output", "json"))

    def apply(self, text: str) -> None:
        self.cluster.kubectl("apply", "--namespace", self.namespace, "--filename", "-", input=text)

    def may(self, verb: str, resource: str, namespace: str, subresource: str = "") -> bool:
        """Whether the operator's account may; `resource` can be `type/name`, as kubectl has it."""
        account = f"system:serviceaccount:{self.namespace}:{NAME}"
        words = ["auth", "can-i", verb, resource, "--as", account, "--namespace", namespace]
        words += ["--subresource", subresource] if subresource else []
        return self.cluster.kubectl(*words, check=False).strip() == "yes"


@contextmanager
def namespace_of(cluster: Cluster, *labels: str) -> Iterator[str]:
    name = f"chart-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    try:
        if labels:
            cluster.kubectl("label", "namespace", name, *labels)
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of our own, because the CRDs, which come and go here, are there once for all namespaces."""
    with control_plane() as cluster:
        if cluster.kubectl("get", "crd", *CRDS, "--ignore-not-found"):
            pytest.fail("this cluster has the CRDs already, and these tests would delete them: name another one")
        yield cluster


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    """A namespace that enforces the PodSecurity level restricted; releases left in it are uninstalled."""
    with namespace_of(cluster, "pod-security.kubernetes.io/enforce=restricted") as namespace:
        yield Release(cluster, namespace)
        for left in json.loads(cluster.helm("list", "--namespace", namespace, "--output", "json")):
            cluster.helm("uninstall", left["name"], "--namespace", namespace)
        # Kept CRDs belong to the release that is gone; the next test installs its own.
        cluster.kubectl("delete", "crd", *CRDS, "--ignore-not-found")


@pytest.fixture
def elsewhere(cluster: Cluster) -> Iterator[str]:
    with namespace_of(cluster) as namespace:
        yield namespace


def test_an_installation_tells_the_next_step_and_that_step_works(release: Release) -> None:
    notes = release.install()
    pasted = notes.partition("apply -f - <<'EOF'")[2].partition("EOF")[0]
    assert "kind: WorkerPool" in pasted
    release.cluster.wait("crd/workerpools.workerpool.dev", "condition=Established")
    release.apply(pasted)
    assert release.get("workerpool", "video")["spec"]["maxReplicas"] == 10


def test_pods_are_admitted_where_restricted_is_enforced(release: Release) -> None:
    release.install()
    until(lambda: len(release.get("pods")["items"]) == 2, "the two pods of the operator", timeout=60)


def test_the_account_may_do_what_it_needs_and_no_more(release: Release, elsewhere: str) -> None:
    release.install()
    needed = [
        *("list workerpools.workerpool.dev", "patch workerpools.workerpool.dev status", "watch deployments.apps"),
        *("patch deployments.apps scale", "get secrets", "create events"),
    ]
    refused = [
        *("list secrets", "watch secrets", "create secrets", "patch deployments.apps", "delete pods", "list pods"),
        *("patch workerpools.workerpool.dev", "delete workerpools.workerpool.dev", "create leases", "get configmaps"),
        "list customresourcedefinitions",
    ]
    may = {}
    for right in needed + refused:
        verb, resource, *subresource = right.split()
        may[right] = release.may(verb, resource, elsewhere, *subresource)
    assert may == dict.fromkeys(needed, True) | dict.fromkeys(refused, False)
    assert release.may("create", "leases", release.namespace)
    assert release.may("patch", f"leases/{NAME}", release.namespace)
    assert not release.may("patch", "leases/of-somebody-else", release.namespace)


def test_an_upgrade_to_watched_namespaces_takes_the_rights_elsewhere_away(release: Release, elsewhere: str) -> None:
    release.install()
    release.apply(POOL)
    assert release.may("get", "secrets", elsewhere)
    release.upgrade("--set", f"watchNamespaces={{{release.namespace}}},replicaCount=3,networkPolicy.enabled=true")
    assert not release.may("get", "secrets", elsewhere)
    assert release.may("get", "secrets", release.namespace)
    assert release.get("deployment", NAME)["spec"]["replicas"] == 3
    assert release.get("workerpool", "video")


def test_the_maximal_values_are_taken_and_without_keep_everything_goes(release: Release, elsewhere: str) -> None:
    namespaces = f"watchNamespaces={{{release.namespace},{elsewhere}}}"
    # The cluster has no Prometheus operator, and so no ServiceMonitor.
    release.install("--values", str(MAXIMAL), "--set", f"{namespaces},serviceMonitor.enabled=false")
    until(lambda: len(release.get("pods")["items"]) == 3, "the three pods of the operator", timeout=60)
    release.uninstall()
    assert release.cluster.kubectl("get", "crd", *CRDS, "--ignore-not-found") == ""


def test_uninstalling_keeps_the_crds_and_the_pools_and_nothing_else(release: Release) -> None:
    release.install()
    release.apply(POOL)
    before = release.get("workerpool", "video")["metadata"]["uid"]
    assert "CustomResourceDefinition" in release.uninstall()
    assert release.get("workerpool", "video")["metadata"]["uid"] == before
    kinds = (
        "deployments,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets,clusterroles,clusterrolebindings"
    )
    left = release.get(kinds, "--selector", f"app.kubernetes.io/instance={NAME}")["items"]
    assert [(item["kind"], item["metadata"]["name"]) for item in left] == []


def test_a_second_installation_takes_the_kept_crds_back(release: Release) -> None:
    release.install()
    release.apply(POOL)
    before = release.get("workerpool", "video")["metadata"]["uid"]
    release.uninstall()
    release.install()
    release.upgrade("--set", "crds.annotations.touched=yes")
    assert release.get("workerpool", "video")["metadata"]["uid"] == before
    assert release.get("crd", CRDS[0])["metadata"]["annotations"]["touched"] == "yes"


def test_crds_are_not_deleted_when_they_are_taken_out_of_the_release(release: Release) -> None:
    release.install()
    release.apply(POOL)
    release.upgrade("--set", "crds.install=false")
    assert release.get("workerpool", "video")


def test_another_release_leaves_the_crds_to_the_first(release: Release) -> None:
    release.install()
    with pytest.raises(ClusterError, match="cannot be imported into the current release"):
        release.install(name="second")
    release.install("--set", f"crds.install=false,watchNamespaces={{{release.namespace}}}", name="second")
    release.uninstall("second")
    assert release.get("crd", CRDS[0])
    assert release.get("deployment", NAME)


def test_users_see_and_edit_pools_by_the_roles_that_they_have(release: Release) -> None:
    release.install()
    for role in ("view", "edit"):
        words = ("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er")
        release.cluster.kubectl(*words, "--namespace", release.namespace)

    def may(user: str, verb: str) -> bool:
        words = ("auth", "can-i", verb, "workerpools.workerpool.dev", "--as", user, "--namespace", release.namespace)
        return release.cluster.kubectl(*words, check=False).strip() == "yes"

    # The controller that aggregates roles takes a moment.
    until(lambda: may("viewer", "list") and may("editer", "create"), "the aggregated roles", timeout=30)
    assert not may("viewer", "create")
    assert not may("nobody", "list")
