"""The cluster that is used is the one that the user named, else the best that there is, else an error that helps."""

from pathlib import Path

import pytest

from tests.cluster import ClusterError, choice, control_plane
from tests.cluster.cluster import Cluster


@pytest.mark.parametrize("wish", ["current", "kind", "native"])
def test_a_wish_is_a_command(wish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.CHOICE, wish)
    assert choice.chosen() == wish


def test_an_unknown_wish_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.CHOICE, "minikube")
    with pytest.raises(ClusterError, match="may be current, kind or native"):
        choice.chosen()


def test_without_any_means_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(choice.CHOICE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.cluster.doctor.SYSTEM_FOLDERS", ())
    with pytest.raises(ClusterError, match=r"(?s)WORKERPOOL_CLUSTER=current.*Docker.*containerd.*setup\.sh packages"):
        choice.chosen()


def test_docker_that_does_not_answer_is_not_taken_for_an_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert not choice.docker_answers()


def test_an_engine_that_answers_means_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.delenv(choice.CHOICE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert choice.chosen() == "kind"


@pytest.mark.apiserver
def test_the_current_cluster_is_used_and_outlives_its_use(
    control_plane_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(choice.CHOICE, "current")
    monkeypatch.setenv("KUBECONFIG", str(control_plane_cluster.kubeconfig))

    with control_plane() as cluster:
        assert (cluster.provider, cluster.server) == ("current", control_plane_cluster.server)
        assert "default" in cluster.kubectl("get", "namespaces")
    choice.down(cluster.name)

    assert "default" in control_plane_cluster.kubectl("get", "namespaces")


@pytest.mark.apiserver
def test_an_image_for_the_current_cluster_needs_a_registry(
    control_plane_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(choice.CHOICE, "current")
    monkeypatch.setenv("KUBECONFIG", str(control_plane_cluster.kubeconfig))
    monkeypatch.delenv("WORKERPOOL_REGISTRY", raising=False)

    with control_plane() as cluster, pytest.raises(ClusterError, match="WORKERPOOL_REGISTRY"):
        cluster.build_image("a:b", tmp_path / "Dockerfile", tmp_path)
