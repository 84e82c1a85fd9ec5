"""How often status is written: never for nothing, now and then for depths, at once for what matters, in a budget."""

import time

import pytest

from tests.running.api import holds_for, wait_for
from tests.running.fixtures import StartOperator
from tests.running.metrics import value
from tests.running.operator_process import OperatorProcess
from tests.running.space import Space, redis, redis_queue
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.servers]


def _written(operator: OperatorProcess) -> float:
    return value(operator.get("/metrics"), "workerpool_status_writes_total") or 0


def test_nothing_is_written_while_nothing_changes(
    space: Space, start_operator: StartOperator, redis_server: RedisServer
) -> None:
    operator = start_operator(status_interval_seconds=1, resync_interval_seconds=1, secret_interval_seconds=0.5)
    with redis_server.client() as client:
        client.rpush("jobs", *range(5))
        client.set("broken", "no list")
    space.secret("login", url=redis_server.url)
    space.broker("media", redis(redis_server.url))
    for name in ("steady", "held", "broken"):
        space.deployment(name, 6)
    space.pool("steady", redis_queue("jobs", ref="media"))
    space.pool("held", redis_queue("jobs", secret="login"), window=3600)
    space.pool("broken", redis_queue("broken", url=redis_server.url))
    space.pool("missing", redis_queue("jobs", url="redis://127.0.0.1:1/0"))
    for name, status in (("steady", "True"), ("held", "True"), ("broken", "False"), ("missing", "False")):
        space.wait_condition(name, status)
    space.wait_replicas("steady", 5)
    wait_for(lambda: space.status("media", "QueueBroker").get("queues") == 2, "the broker's status")
    _settle(operator)
    versions = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in _resources(space)}
    events = len(space.api.list("Event", space.name))
    holds_for(
        lambda: (
            versions == {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in _resources(space)}
        ),
        "no write",
        seconds=3,
    )
    assert len(space.api.list("Event", space.name)) == events


def _resources(space: Space) -> list[dict[str, dict[str, str]]]:
    kinds = ("WorkerPool", "QueueBroker", "Deployment")
    return [item for kind in kinds for item in space.api.list(kind, space.name)]


def _settle(operator: OperatorProcess) -> None:
    """Wait until a second goes by without a write."""
    seen = (_written(operator), time.monotonic())

    def quiet() -> bool:
        nonlocal seen
        if (now := _written(operator)) != seen[0]:
            seen = (now, time.monotonic())
        return time.monotonic() - seen[1] > 1.1

    wait_for(quiet, "a second without a write")


def test_depths_alone_are_written_at_the_interval_and_a_decision_at_once(
    space: Space, start_operator: StartOperator, redis_server: RedisServer
) -> None:
    operator = start_operator(status_interval_seconds=2, sample_interval_seconds=0.1)
    space.deployment("worker")
    space.pool("worker", redis_queue("jobs", url=redis_server.url), maximum=1)
    with redis_server.client() as client:
        client.rpush("jobs", *range(5))
        space.wait_replicas("worker", 1)
        space.wait_status("worker", lambda status: status.get("waiting") == 5, "the first depth")
        _settle(operator)
        before, began = _written(operator), time.monotonic()

        def busy() -> bool:
            client.rpush("jobs", "job")
            return True

        holds_for(busy, "jobs come in", seconds=4)
        jobs = client.llen("jobs")
        space.wait_status("worker", lambda status: status["waiting"] == jobs, "the last depth", seconds=4)
        assert _written(operator) - before <= (time.monotonic() - began) / 2 + 1
        space.edit("worker", maxReplicas=7)
        space.wait_status("worker", lambda status: status["desiredReplicas"] == 7, "the decision", seconds=1)


def test_a_condition_goes_before_a_crowd_of_depths_and_all_keep_to_the_budget(
    space: Space, start_operator: StartOperator, redis_server: RedisServer
) -> None:
    operator = start_operator(status_interval_seconds=1, sample_interval_seconds=0.2, status_writes_per_second=4)
    names = [f"worker-{number}" for number in range(16)]
    with redis_server.client() as client:
        for name in names:
            client.rpush(name, "job", "job")
            space.deployment(name, 1)
            space.pool(name, redis_queue(name, url=redis_server.url), maximum=1)
        space.wait_status(names[-1], lambda status: status.get("waiting") == 2, "all are known", seconds=20)
        for name in names:
            client.rpush(name, "job")
        # The crowd waits for four seconds' worth of writes.
        wait_for(lambda: any(_waiting(space, name) == 3 for name in names), "the first of the crowd")
        client.set(names[-1], "no list")
        space.wait_condition(names[-1], "False", "WrongType", seconds=2)
        assert sum(_waiting(space, name) == 2 for name in names) > 3
    before, began = _written(operator), time.monotonic()
    wait_for(lambda: time.monotonic() - began > 2, "two seconds")
    assert 4 <= _written(operator) - before <= (time.monotonic() - began) * 4 + 5


def _waiting(space: Space, name: str) -> int | None:
    waiting: int | None = space.status(name).get("waiting")
    return waiting
