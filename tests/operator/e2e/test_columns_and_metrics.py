"""What the operator tells of its pools: status, printer columns, metrics, probes."""

import re
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.running.api import wait_for
from tests.running.gate import Gate
from tests.running.metrics import series, value
from tests.running.operator_process import OperatorProcess
from tests.running.publisher import Publisher
from tests.running.space import Space, rabbitmq_queue, redis, redis_queue
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.servers]


def _fill(server: RedisServer, count: int, key: str = "jobs") -> None:
    with server.client() as client:
        client.rpush(key, *range(count))


@pytest.mark.usefixtures("operator_process")
def test_kubectl_prints_the_columns_that_users_want(
    cluster_with_crds: Cluster,
    space: Space,
    rabbitmq_server: RabbitMQServer,
    rabbitmq_vhost: str,
    publisher: Publisher,
) -> None:
    publisher.publish("jobs", 12)
    publisher.take("jobs", 3)
    space.broker(
        "rabbit",
        {
            "rabbitmq": {
                "url": rabbitmq_server.url_of(rabbitmq_vhost),
                "managementUrl": rabbitmq_server.management_url,
            }
        },
    )
    space.deployment("worker", pods=True)
    space.pool("pool", rabbitmq_queue("jobs", ref="rabbit"), target="worker", jobs=5, minimum=1, maximum=7)
    space.wait_status("pool", lambda status: (status.get("replicas"), status.get("inFlight")) == (3, 3), "3 replicas")
    header, row = cluster_with_crds.kubectl("get", "wp", "--namespace", space.name).splitlines()
    assert re.split(" +", header) == [
        *("NAME", "TARGET", "WAITING", "IN-FLIGHT", "REPLICAS", "DESIRED", "MIN", "MAX", "READY", "REASON", "AGE")
    ]
    assert row.split()[:-1] == ["pool", "worker", "9", "3", "3", "3", "1", "7", "True", "Backlog"]
    wait_for(lambda: space.status("rabbit", "QueueBroker").get("queues") == 1, "the broker tells of its queue")
    header, row = cluster_with_crds.kubectl("get", "qb", "--namespace", space.name).splitlines()
    assert header.split() == ["NAME", "CONNECTED", "REASON", "VERSION", "LATENCY-MS", "QUEUES", "AGE"]
    assert re.fullmatch(r"rabbit +True +Connected +RabbitMQ 3\.\S+ +\d+ +1 +\d+s", row)


@pytest.mark.usefixtures("operator_process")
def test_the_status_tells_the_decision_with_its_numbers(space: Space, redis_server: RedisServer) -> None:
    _fill(redis_server, 123)
    space.deployment("worker")
    space.pool("worker", redis_queue("jobs", url=redis_server.url), jobs=50, maximum=2)
    space.wait_replicas("worker", 2)
    space.wait_status("worker", lambda status: "lastScaleTime" in status, "the time of the scale")
    status = space.status("worker")
    assert status["desiredReplicas"] == 2
    assert status["waiting"] == 123
    assert "inFlight" not in status
    assert status["observedGeneration"] == 1
    assert status["reason"] == "AtMaximum"
    assert status["message"].endswith("ceil(123/50) = 3, capped at maxReplicas 2")
    assert {item["type"]: item["status"] for item in status["conditions"]} == {
        "Ready": "True",
        "BrokersReachable": "True",
        "Active": "True",
        "ScalingLimited": "True",
        "Suspended": "False",
    }
    for condition in status["conditions"]:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", condition["reason"])
        assert condition["message"]
        assert condition["lastTransitionTime"]
    metadata = space.get("WorkerPool", "worker")["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata


def test_the_metrics_are_true_and_end_with_their_pool(
    space: Space, operator_process: OperatorProcess, redis_server: RedisServer
) -> None:
    _fill(redis_server, 4)
    with redis_server.client() as client:
        client.set("broken", "no list")
    space.deployment("worker")
    space.pool(
        "worker", redis_queue("jobs", url=redis_server.url), redis_queue("more", url=redis_server.url), maximum=3
    )
    space.deployment("stuck", 2)
    space.pool("stuck", redis_queue("broken", url=redis_server.url))
    space.wait_replicas("worker", 3)
    space.wait_condition("stuck", "False", "WrongType")
    with redis_server.client() as client:
        client.delete("jobs")
    space.wait_replicas("worker", 0)
    _fill(redis_server, 2)
    space.wait_replicas("worker", 2)
    space.wait_condition("worker", "True")

    def of_pool(name: str, pool: str = "worker", **labels: str) -> Any:
        text = operator_process.get("/metrics")
        return value(text, name, namespace=space.name, workerpool=pool, **labels)

    wait_for(lambda: of_pool("workerpool_current_replicas") == 2, "the operator has the answer to its patch")
    text = operator_process.get("/metrics")

    assert of_pool("workerpool_queue_jobs", queue="jobs", state="waiting") == 2
    assert of_pool("workerpool_queue_jobs", queue="more", state="waiting") == 0
    assert of_pool("workerpool_queue_jobs", queue="jobs", state="in_flight") is None
    assert of_pool("workerpool_queue_jobs", "stuck") is None
    assert of_pool("workerpool_desired_replicas") == 2
    assert of_pool("workerpool_current_replicas", "stuck") == 2
    assert of_pool("workerpool_ready") == 1
    assert of_pool("workerpool_ready", "stuck") == 0
    decisions = series(text, "workerpool_scale_decisions_total", namespace=space.name)
    told = {("worker", "up", "AtMaximum"): 1, ("worker", "down", "Empty"): 1, ("worker", "up", "Backlog"): 1}
    assert {
        tuple(dict(labels)[key] for key in ("workerpool", "direction", "reason")): count
        for labels, count in decisions.items()
    } == told
    assert value(text, "workerpool_leading") == 1
    assert (value(text, "workerpool_engine_lag_seconds_count") or 0) > 0

    space.delete("WorkerPool", "worker")
    wait_for(
        lambda: f'namespace="{space.name}",workerpool="worker"' not in operator_process.get("/metrics"),
        "the pool's series end",
    )
    assert f'namespace="{space.name}",workerpool="stuck"' in operator_process.get("/metrics")


def test_the_metrics_of_a_broker_count_reads_and_errors_and_end_with_its_use(
    space: Space, operator_process: OperatorProcess, redis_server: RedisServer
) -> None:
    with Gate("127.0.0.1", redis_server.port) as gate:
        address = f"127.0.0.1:{gate.port}/0"
        space.broker("media", redis(f"redis://{address}"))

        def read(name: str, **labels: str) -> float:
            return value(operator_process.get("/metrics"), name, broker=address, **labels) or 0

        wait_for(lambda: read("workerpool_broker_reads_total") >= 2, "two reads")
        assert read("workerpool_broker_read_errors_total") == 0
        assert 0 < read("workerpool_broker_read_seconds_sum") < 1
        gate.cut()
        wait_for(lambda: read("workerpool_broker_read_errors_total", reason="Unreachable") >= 1, "an error")
        space.delete("QueueBroker", "media")
        wait_for(lambda: address not in operator_process.get("/metrics"), "its series end")


def test_the_probes_say_that_it_runs(operator_process: OperatorProcess) -> None:
    assert re.fullmatch(r"last tick \d\.\d s ago\n", operator_process.get("/healthz"))
    assert operator_process.get("/readyz") == "ready\n"
