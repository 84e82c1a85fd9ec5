"""Which cluster there is: the one that the user named, kind, or native processes.

WORKERPOOL_CLUSTER and the machine's means come in; a running cluster goes out, or an error that lists what is missing.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import kind
from tests.cluster.cache import locked
from tests.cluster.cluster import Cluster, Provider
from tests.cluster.current import CurrentCluster
from tests.cluster.doctor import missing_for_native
from tests.cluster.errors import ClusterError
from tests.cluster.native import cluster as native

CHOICE = "WORKERPOOL_CLUSTER"


@contextmanager
def control_plane() -> Iterator[Cluster]:
    """Gives the smallest cluster there is: objects are stored and reconciled, but pods may stay pending."""
    with _temporary(pods=False) as cluster:
        yield cluster


@contextmanager
def with_node() -> Iterator[Cluster]:
    """Gives a cluster that runs pods, routes Services and resolves their names."""
    with _temporary(pods=True) as cluster:
        yield cluster


def up(name: str, *, pods: bool = False) -> Cluster:
    """Returns the cluster `name`, which stays until `down`: the one that runs, if it is well, else a new one.

    Args:
        name: letters, digits and dashes; for `current` it is only a label.
        pods: a cluster that runs pods is wanted.
    """
    with locked(f"cluster-{name}"):
        cluster = find(name)
        if cluster and (cluster.runs_pods or not pods):
            return cluster
        if chosen() == "current":
            return CurrentCluster()
        _remove(name)
        return _start(chosen(), name, pods=pods, attached=False)


def down(name: str) -> None:
    """Removes all of the cluster `name`; never touches a cluster that `up` did not start."""
    with locked(f"cluster-{name}"):
        _remove(name)


def find(name: str) -> Cluster | None:
    """Returns the cluster `name` if it runs and answers, whoever runs it."""
    if os.environ.get(CHOICE) == "current":
        return CurrentCluster()
    return native.find(name) or kind.find(name)


def chosen() -> Provider:
    """Returns who runs the clusters here.

    Raises:
        ClusterError: nobody can; the message says what is missing.
    """
    wish = os.environ.get(CHOICE, "")
    if wish == "current":
        return "current"
    if wish in ("native", "kind"):
        return "kind" if wish == "kind" else "native"
    if wish:
        raise ClusterError(f"{CHOICE}={wish}: it may be current, kind or native")
    if docker_answers():
        return "kind"
    missing = missing_for_native()
    if missing:
        raise ClusterError(
            "no Kubernetes cluster can be had here. Any one of these would do:\n"
            f"  - {CHOICE}=current, to use the current context of your kubeconfig\n"
            "  - a Docker engine that answers `docker info`, for kind\n"
            f"  - Debian as root, for a native cluster; missing for that: {', '.join(missing)}"
        )
    return "native"


def docker_answers() -> bool:
    """Tells whether a Docker engine answers."""
    if not shutil.which("docker"):
        return False
    try:
        return not subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=10).returncode
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def _temporary(*, pods: bool) -> Iterator[Cluster]:
    provider = chosen()
    if provider == "current":
        yield CurrentCluster()
        return
    name = native.random_name("pods" if pods else "api")
    cluster = _start(provider, name, pods=pods, attached=True)
    try:
        yield cluster
    finally:
        cluster.stop()


def _start(provider: Provider, name: str, *, pods: bool, attached: bool) -> kind.KindCluster | native.NativeCluster:
    if provider == "kind":  # its smallest cluster runs pods
        return kind.start(name, attached=attached)
    return native.start(name, pods=pods, attached=attached)


def _remove(name: str) -> None:
    native.remove(name)
    kind.remove(name)
