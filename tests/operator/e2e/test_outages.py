"""Restarts of the operator, and outages of the API server: nothing moves for them, and nothing is missed."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.cluster import Cluster
from tests.running.api import wait_for
from tests.running.fixtures import StartOperator
from tests.running.gate import Gate
from tests.running.space import Space, redis_queue
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.servers]


def _push(server: RedisServer, count: int, key: str = "jobs") -> None:
    with server.client() as client:
        client.rpush(key, *range(count))


@pytest.fixture
def api_gate(cluster_with_crds: Cluster) -> Iterator[Gate]:
    """Stands before the API server."""
    server = urlsplit(cluster_with_crds.server)
    with Gate(server.hostname or "", server.port or 443) as gate:
        yield gate


@pytest.fixture
def gated(cluster_with_crds: Cluster, api_gate: Gate, tmp_path: Path) -> Path:
    """A kubeconfig that leads through the gate."""
    config = yaml.safe_load(cluster_with_crds.kubeconfig.read_text())
    for cluster in config["clusters"]:
        cluster["cluster"]["server"] = f"https://127.0.0.1:{api_gate.port}"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_restart_moves_no_pool_and_repeats_no_event(
    space: Space, start_operator: StartOperator, redis_server: RedisServer
) -> None:
    # A pod keeps its name, and so its place as the leader, when its container is started again.
    operator = start_operator(identity="pod-0")
    _push(redis_server, 5)
    with redis_server.client() as client:
        client.set("broken", "no list")
    for name in ("worker", "broken", "lost"):
        space.deployment(name)
    url = redis_server.url
    space.pool("worker", redis_queue("jobs", url=url), window=60)
    space.pool("broken", redis_queue("broken", url=url), redis_queue("b", url="redis://127.0.0.1:1/0"))
    space.pool("lost", redis_queue("jobs", url=url), target="nowhere")
    space.wait_replicas("worker", 5)
    space.wait_condition("broken", "False", "WrongType")
    space.wait_condition("lost", "False", "TargetMissing")
    wait_for(lambda: space.status("worker").get("lastScaleTime"), "the status is written")
    space.wait_condition("lost", "True", type_="BrokersReachable")
    told = {name: space.status(name) for name in ("worker", "broken", "lost")}
    events = {name: len(space.events(name)) for name in told}
    operator.kill()
    with redis_server.client() as client:
        client.delete("jobs")
    space.scale("broken", 2)
    operator.start()
    space.wait_status("worker", lambda status: status["reason"] == "Stabilizing", "it is held")
    space.replicas_stay("worker", 5, seconds=2)
    assert space.replicas("broken") == 2
    assert {name: len(space.events(name)) for name in told} == events
    assert space.status("worker")["lastScaleTime"] == told["worker"]["lastScaleTime"]
    for name in ("broken", "lost"):
        for type_ in ("Ready", "BrokersReachable"):
            assert space.condition(name, type_) in told[name]["conditions"]


def test_what_happens_while_the_api_server_is_away_is_made_up_for(
    space: Space, start_operator: StartOperator, redis_server: RedisServer, api_gate: Gate, gated: Path
) -> None:
    operator = start_operator(gated, resync_interval_seconds=1)
    _push(redis_server, 3)
    for name in ("worker", "gone", "fresh"):
        space.deployment(name)
    for name in ("worker", "gone"):
        space.pool(name, redis_queue("jobs", url=redis_server.url))
        space.wait_replicas(name, 3)
    api_gate.cut()
    _push(redis_server, 2)
    space.delete("WorkerPool", "gone")
    space.pool("fresh", redis_queue("jobs", url=redis_server.url))
    space.edit("worker", minReplicas=1)
    space.replicas_stay("worker", 3, seconds=3)
    assert operator.running
    assert operator.get("/healthz")
    api_gate.open()
    space.wait_replicas("worker", 5, seconds=5)
    space.wait_replicas("fresh", 5, seconds=5)
    space.scale("gone", 1)
    space.replicas_stay("gone", 1, seconds=1.5)
    space.delete("Deployment", "worker")
    space.wait_condition("worker", "False", "TargetMissing", seconds=5)
    assert [message.split(":")[1] for message in space.events("worker", "ScaledUp")] == [
        " 0 to 3 replicas",
        " 3 to 5 replicas",
    ]


def test_a_long_silence_of_the_api_server_moves_nothing(
    space: Space, start_operator: StartOperator, redis_server: RedisServer, api_gate: Gate, gated: Path
) -> None:
    operator = start_operator(gated)
    _push(redis_server, 3)
    space.deployment("worker")
    space.pool("worker", redis_queue("jobs", url=redis_server.url), window=60)
    space.wait_replicas("worker", 3)
    api_gate.mute()
    wait_for(lambda: "lost the lead" in operator.log, "it gives up the lead", seconds=15)
    assert operator.running
    with redis_server.client() as client:
        client.delete("jobs")
    api_gate.open()
    wait_for(lambda: operator.log.count("took the lead") == 2, "it leads again", seconds=5)
    space.replicas_stay("worker", 3, seconds=1.5)
    _push(redis_server, 4)
    space.wait_replicas("worker", 4, seconds=3)
    assert "Traceback" not in operator.log


def test_an_operator_that_starts_before_the_api_server_waits_for_it(
    space: Space, start_operator: StartOperator, redis_server: RedisServer, api_gate: Gate, gated: Path
) -> None:
    _push(redis_server, 3)
    space.deployment("worker")
    space.pool("worker", redis_queue("jobs", url=redis_server.url))
    api_gate.cut()
    operator = start_operator(gated, until_ready=False)
    wait_for(lambda: "the API server did not answer" in operator.log, "it tries", seconds=10)
    space.replicas_stay("worker", 0, seconds=1)
    api_gate.open()
    space.wait_replicas("worker", 3, seconds=10)
    assert "Traceback" not in operator.log
