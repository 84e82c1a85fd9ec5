"""kind: a cluster of containers, where a Docker engine answers. One cluster runs pods whether asked to or not.

A name comes in, a running cluster goes out. Its containers bear kind's label of the cluster's name, and all of them
are removed by that name. The node image is the one that the pinned version of kind was made with.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.cluster import docker
from tests.cluster.cache import cache_dir
from tests.cluster.cluster import Cluster
from tests.cluster.commands import run, run_long
from tests.cluster.errors import ClusterError
from tests.cluster.tools import on_path_or_built

PREFIX = "workerpool-"


class KindCluster(Cluster):
    """A kind cluster of ours."""

    provider = "kind"

    def __init__(self, name: str) -> None:
        kubeconfig = _kubeconfig(name)
        words = ("config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}")
        server = run(on_path_or_built("kubectl"), "--kubeconfig", kubeconfig, *words)
        super().__init__(name, kubeconfig, server, runs_pods=True)

    def build_image(self, tag: str, dockerfile: Path, context: Path) -> str:
        """See Cluster; built by Docker and loaded into kind's nodes, which is quick when they have it."""
        docker.build(tag, dockerfile, context)
        words: list[str | Path] = [on_path_or_built("kind"), "load", "docker-image", tag, "--name", PREFIX + self.name]
        run_long(words, f"loading {tag} into {self.name}", expected_seconds=20)
        return tag

    def stop(self) -> None:
        """Ends it and removes every trace."""
        remove(self.name)


def start(name: str, *, attached: bool) -> KindCluster:
    """Starts a cluster that runs pods; `attached` ends it with this process at the latest."""
    kubeconfig = _kubeconfig(name)
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    kubeconfig.touch(mode=0o600)  # it marks the name as ours, from before there is anything to remove
    if attached:
        _watch(name)
    create: list[str | Path] = [
        "create",
        "cluster",
        "--name",
        PREFIX + name,
        "--kubeconfig",
        kubeconfig,
        "--wait",
        "180s",
    ]
    try:
        run_long([on_path_or_built("kind"), *create], f"starting the kind cluster {name}", expected_seconds=60)
        return KindCluster(name)
    except BaseException:
        remove(name)
        raise


def find(name: str) -> KindCluster | None:
    """Returns the cluster if it runs and answers."""
    if not _kubeconfig(name).exists():
        return None
    try:
        cluster = KindCluster(name)
        cluster.kubectl("get", "--raw", "/readyz", timeout=10)
    except ClusterError:
        return None
    return cluster


def remove(name: str) -> None:
    """Removes the cluster's containers and kubeconfig; nothing happens when there are none."""
    kubeconfig = _kubeconfig(name)
    if not kubeconfig.exists():
        return
    run(
        *(on_path_or_built("kind"), "delete", "cluster", "--name", PREFIX + name, "--kubeconfig", kubeconfig),
        timeout=120,
    )
    kubeconfig.unlink(missing_ok=True)


def _kubeconfig(name: str) -> Path:
    return cache_dir() / "kind" / f"{name}.kubeconfig"


def _watch(name: str) -> None:
    """Leaves a process behind that removes the cluster when this process is gone without having done so."""
    kubeconfig = _kubeconfig(name)
    owner = os.pidfd_open(os.getpid())
    delete = [str(on_path_or_built("kind")), "delete", "cluster", "--name", PREFIX + name]
    script = (
        "import select, subprocess, sys; select.select([int(sys.argv[1])], [], []); "
        "sys.exit(subprocess.call(sys.argv[2:]))"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", script, str(owner), *delete, "--kubeconfig", str(kubeconfig)],
        pass_fds=[owner],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    watcher.returncode = 0  # it is to outlive this process
    os.close(owner)
