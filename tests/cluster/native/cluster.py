"""Native clusters: real Kubernetes binaries in namespaces of this machine, without Docker.

A name comes in and a running cluster goes out, either tied to this process or left running.
"""

import json
import os
import re
import secrets
import ssl
import urllib.request
from http import HTTPStatus
from pathlib import Path
from urllib.error import URLError

from tests.cluster.archive import program_image
from tests.cluster.cluster import Cluster
from tests.cluster.commands import say
from tests.cluster.errors import ClusterError
from tests.cluster.native import control_plane, node
from tests.cluster.native.images import image_archive
from tests.cluster.native.network import Slot, take_slot
from tests.cluster.native.pki import Authority
from tests.cluster.native.state import Plan, State
from tests.cluster.poll import until
from tests.cluster.tools import CONTROL_PLANE, NODE, tools

READY_SECONDS = 120


class NativeCluster(Cluster):
    """A cluster of processes on this machine."""

    provider = "native"

    def __init__(self, state: State) -> None:
        facts = json.loads(state.facts.read_text())
        super().__init__(state.name, state.kubeconfig, facts["server"], runs_pods=facts["pods"])
        self.state = state

    def build_image(self, tag: str, dockerfile: Path, context: Path) -> str:
        """See Cluster; built by buildah and imported into the node's containerd."""
        archive = image_archive(tag, dockerfile, context)
        imported = self.state.folder / "images" / archive.parent.name
        if not imported.exists():
            node.import_image(self.state.folder, archive)
            imported.parent.mkdir(exist_ok=True)
            imported.touch()
        return tag

    def stop(self) -> None:
        """Ends it and removes every trace."""
        self.state.stop()

    def _kubectl(self) -> Path:
        return tools("kubectl")["kubectl"]


def random_name(what: str) -> str:
    """Returns a name that no other cluster has."""
    return f"{what}-{os.getpid()}-{secrets.token_hex(2)}"


def start(name: str, *, pods: bool, attached: bool) -> NativeCluster:
    """Starts a cluster and returns when it is usable.

    Args:
        name: letters, digits and dashes.
        pods: with a node that runs pods.
        attached: it ends with this process at the latest; else it stays until `down`.

    Raises:
        ClusterError: it does not start; the ends of the logs are in the message.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise ClusterError(f"{name!r} is no name for a cluster: lower case letters, digits and dashes")
    binaries = tools(*CONTROL_PLANE, *(NODE if pods else ()))
    state = State(name)
    alive = state.create()
    try:
        slot = take_slot()
        plan = _plan(state, binaries, slot, pods=pods)
        state.facts.write_text(json.dumps(_facts(slot, pods=pods)))
        state.keep(plan, alive, slot, attached=attached)
        cluster = NativeCluster(state)
        wait_ready(cluster)
    except BaseException:
        alive.close()
        state.stop()
        raise
    return cluster


def find(name: str) -> NativeCluster | None:
    """Returns the cluster if it runs and answers."""
    state = State(name)
    if not state.keeper_pid() or not state.facts.exists():
        return None
    cluster = NativeCluster(state)
    return cluster if Api(cluster).healthy() else None


def remove(name: str) -> None:
    """Ends the cluster and removes every trace; nothing happens when there is none."""
    State(name).stop()


def _facts(slot: Slot, *, pods: bool) -> dict[str, object]:
    return {"server": control_plane.server(slot), "pods": pods, "dns": slot.dns, "node": slot.node}


def _furnish(cluster: NativeCluster) -> None:
    archive = cluster.state.folder / "pause.tar"
    program_image(node.PAUSE, tools("pause")["pause"], archive)
    node.furnish(cluster, cluster.state.folder, archive)


def _plan(state: State, binaries: dict[str, Path], slot: Slot, *, pods: bool) -> Plan:
    folder = state.folder
    authority = Authority(folder / "pki")
    control_plane.issue(authority, slot, node.SUBJECTS if pods else {})
    authority.kubeconfig("admin", control_plane.server(slot), state.kubeconfig)
    programs = control_plane.programs(folder, binaries, authority, slot)
    inside = slot.inside()
    if pods:
        programs += node.programs(folder, binaries, authority, slot)
        inside += node.inside(folder, slot)
    return Plan(
        cgroup=node.cgroup(slot),
        outside=slot.outside(),
        inside=inside,
        programs=programs,
        afterwards=slot.afterwards(),
    )


def wait_ready(cluster: NativeCluster) -> None:
    """Returns when the cluster is usable: its API, the default service account and, with pods, node and DNS."""
    api = Api(cluster)

    def ready() -> bool:
        cluster.state.check()
        return api.healthy() and (not cluster.runs_pods or node.ready(api.get))

    until(
        ready,
        f"cluster {cluster.name} to be ready",
        timeout=READY_SECONDS,
        interval=0.05,
        explain=cluster.state.last_words,
    )
    if cluster.runs_pods:
        _furnish(cluster)
        until(api.dns_ready, "cluster DNS", timeout=READY_SECONDS, interval=0.05, explain=cluster.state.last_words)
    say(f"{cluster.name} is ready at {cluster.server}")


class Api:
    """The API server, asked directly: a fraction of the cost of running kubectl in a loop."""

    def __init__(self, cluster: NativeCluster) -> None:
        pki = cluster.state.folder / "pki"
        self.server = cluster.server
        tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        # Proxies are for the way out of this machine; clusters are on it.
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        )

    def get(self, path: str) -> bytes | None:
        """Returns the body of a successful answer, else None."""
        try:
            with self.opener.open(self.server + path, timeout=5) as answer:
                return bytes(answer.read())
        except (URLError, OSError):
            return None

    def dns_ready(self) -> bool:
        """Tells whether CoreDNS has read the cluster's Services."""
        host = self.server.removeprefix("https://").rsplit(":", 1)[0]
        try:
            with self.opener.open(f"http://{host}:{node.DNS_READY_PORT}/ready", timeout=5) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except (URLError, OSError):
            return False

    def healthy(self) -> bool:
        """Tells whether it is ready and pods can be created."""
        return bool(self.get("/readyz") and self.get("/api/v1/namespaces/default/serviceaccounts/default"))
