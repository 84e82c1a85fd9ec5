"""A control plane stores and reconciles objects, and several run side by side."""

import json

import pytest

from tests.cluster import Cluster, ClusterError, control_plane, down, find, up
from tests.cluster.commands import run
from tests.cluster.native.cluster import random_name
from tests.cluster.poll import until

pytestmark = pytest.mark.apiserver


def test_a_deployment_gets_pods_that_stay_pending(control_plane_cluster: Cluster) -> None:
    kubectl = control_plane_cluster.kubectl
    kubectl("create", "namespace", "pending")
    kubectl("create", "-n", "pending", "deployment", "d", "--image=none", "--replicas=2")

    def phases() -> list[str]:
        pods = json.loads(kubectl("get", "-n", "pending", "pods", "-o", "json"))["items"]
        return [pod["status"]["phase"] for pod in pods]

    until(lambda: len(phases()) == 2, "two pods", timeout=20)
    kubectl("scale", "-n", "pending", "deployment/d", "--replicas=1")
    until(lambda: len(phases()) == 1, "one pod", timeout=20)
    assert phases() == ["Pending"]


def test_access_is_by_role(control_plane_cluster: Cluster) -> None:
    def may(*words: str) -> str:
        return control_plane_cluster.kubectl("auth", "can-i", *words, check=False).strip()

    assert may("create", "deployments") == "yes"
    assert may("create", "deployments", "--as=system:serviceaccount:default:default") == "no"


def test_helm_finds_the_cluster(control_plane_cluster: Cluster) -> None:
    assert control_plane_cluster.helm("list", "--short") == ""
    assert run("helm", "list", "--short", env=control_plane_cluster.env()) == ""


def test_an_error_of_kubectl_says_what_it_said(control_plane_cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=r'deployments\.apps "nobody" not found'):
        control_plane_cluster.kubectl("get", "deployment", "nobody")


def test_two_control_planes_run_side_by_side(control_plane_cluster: Cluster) -> None:
    with control_plane() as other:
        assert other.server != control_plane_cluster.server
        other.kubectl("create", "namespace", "only-here")

        assert "only-here" not in control_plane_cluster.kubectl("get", "namespaces")


def test_up_finds_what_runs_and_down_removes_it() -> None:
    name = random_name("up")
    try:
        first = up(name)
        first.kubectl("create", "namespace", "kept")
        assert "kept" in up(name).kubectl("get", "namespaces")
    finally:
        down(name)

    assert find(name) is None
    down(name)  # again: nothing to do, and no error


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ClusterError, match="no name for a cluster"):
        up("../etc")
