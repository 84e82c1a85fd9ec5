"""Native clusters share nothing with each other, are reached from this machine, and leave nothing behind.

Collected only where a native cluster can run at all, which conftest.py decides.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import Cluster, ClusterError, choice, control_plane, down, find, up, with_node
from tests.cluster.native import control_plane as programs
from tests.cluster.native.cluster import random_name
from tests.cluster.native.state import State, start_time, sweep
from tests.cluster.poll import until

REPOSITORY = Path(__file__).parents[2]
OWNER = """
import sys
from tests.cluster import control_plane, with_node
with (with_node if sys.argv[1] == "pods" else control_plane)() as cluster:
    print(cluster.name, flush=True)
    sys.stdin.read()
"""
PAUSE = ("--image=localhost/pause:local", "--image-pull-policy=Never")


@pytest.fixture(scope="module", autouse=True)
def native() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(choice.CHOICE, "native")
        yield


@pytest.fixture(scope="module")
def node() -> Iterator[Cluster]:
    with with_node() as cluster:
        yield cluster


@pytest.mark.pods
def test_this_process_reaches_pods_and_services(node: Cluster) -> None:
    node.kubectl("run", "reached", *PAUSE)
    node.wait("pod/reached", "condition=Ready")
    pod = node.kubectl("get", "pod", "reached", "-o", "jsonpath={.status.podIP}")
    service = node.kubectl("get", "-n", "kube-system", "service", "kube-dns", "-o", "jsonpath={.spec.clusterIP}")

    socket.create_connection((service, 53), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):  # by the pod itself, where nothing listens
        socket.create_connection((pod, 9), timeout=5)


@pytest.mark.pods
def test_two_nodes_run_side_by_side(node: Cluster) -> None:
    with with_node() as other:
        for cluster in (node, other):
            cluster.kubectl("run", "twin", *PAUSE)
        for cluster in (node, other):
            cluster.wait("pod/twin", "condition=Ready")


@pytest.mark.apiserver
def test_down_leaves_nothing_behind() -> None:
    name = random_name("up")
    up(name)
    assert traces(name)
    down(name)

    assert find(name) is None
    assert traces(name) == []


@pytest.mark.apiserver
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_owner_leaves_nothing_behind(number: signal.Signals) -> None:
    with owner("api") as (process, name):
        assert len(traces(name)) > 4
        os.kill(process.pid, number)
        process.wait(30)

    until(lambda: not traces(name), "the end of the cluster", timeout=30, explain=lambda: "\n".join(traces(name)))


@pytest.mark.pods
def test_a_killed_owner_of_a_node_leaves_nothing_behind() -> None:
    with owner("pods") as (process, name):
        cluster = find(name)
        assert cluster
        cluster.kubectl("run", "p", *PAUSE)
        cluster.wait("pod/p", "condition=Ready")
        processes = [pid for pid in namespace_of(name) if start_time(pid)]
        assert len(processes) >= 10
        process.kill()
        process.wait()

    until(lambda: not traces(name), "the end of the cluster", timeout=30, explain=lambda: "\n".join(traces(name)))
    assert [pid for pid in processes if start_time(pid)] == []


@pytest.mark.pods
def test_a_killed_keeper_leaves_no_process_and_the_rest_is_swept_away() -> None:
    with owner("pods") as (process, name):
        keeper = State(name).keeper_pid()
        assert keeper
        processes = namespace_of(name)
        os.kill(keeper, signal.SIGKILL)

        until(lambda: not any(map(start_time, processes)), "the end of all processes", timeout=30)
        process.kill()
    sweep()

    assert traces(name) == []


@pytest.mark.apiserver
def test_a_program_that_dies_is_reported_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_scheduler", lambda *_: ["sh", "-c", "echo no such flag; exit 3"])
    with pytest.raises(ClusterError, match=r"(?s)kube-scheduler ended with 3.*no such flag"), control_plane():
        pass


@contextmanager
def owner(kind: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that owns a cluster, and the cluster's name."""
    words = [sys.executable, "-c", OWNER, kind]
    with subprocess.Popen(words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            name = process.stdout.readline().strip()
            assert name
            yield process, name
        finally:
            process.kill()


def namespace_of(name: str) -> list[int]:
    """All processes of a cluster's process namespace."""
    keeper = State(name).keeper_pid()
    assert keeper
    # Those that `unshare`, the keeper's child, starts are in a namespace of their own.
    namespace = reads(f"/proc/{child_of(keeper)}/ns/pid_for_children")
    return [pid for pid in pids() if reads(f"/proc/{pid}/ns/pid") == namespace]


def child_of(parent: int) -> int:
    (child,) = (pid for pid in pids() if f"\nPPid:\t{parent}\n" in text(f"/proc/{pid}/status"))
    return child


def traces(name: str) -> list[str]:
    """What is left of a cluster on this machine: processes, mounts, network devices, cgroups, files."""
    folder = str(State(name).folder)
    lines = ((pid, command_line(pid)) for pid in pids())
    processes = [f"process {pid}: {line}" for pid, line in lines if folder in line]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if folder in line]
    plan = State(name).folder / "plan.json"
    if plan.exists():
        KNOWN_CGROUPS[name] = json.loads(plan.read_text())["cgroup"]
    device = KNOWN_CGROUPS.get(name, "none")
    devices = [f"device {device}"] if Path("/sys/class/net", device).exists() else []
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{device}")]
    files = [folder] if State(name).folder.exists() else []
    return [*processes, *mounts, *devices, *cgroups, *files]


KNOWN_CGROUPS: dict[str, str] = {}


def pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def command_line(pid: int) -> str:
    return text(f"/proc/{pid}/cmdline").replace("\0", " ")


def text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def reads(link: str) -> str:
    try:
        return str(Path(link).readlink())
    except OSError:
        return ""
