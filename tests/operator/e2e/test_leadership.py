"""Two replicas: one acts, the other takes over."""

import os
import signal
import time

import pytest

from tests.running.api import holds_for, wait_for
from tests.running.fixtures import StartOperator
from tests.running.metrics import value
from tests.running.operator_process import OperatorProcess
from tests.running.space import Space, redis_queue
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.servers]

TAKEOVER_SECONDS = 15
CLEAN_TAKEOVER_SECONDS = 2


def _leads(operator: OperatorProcess) -> bool:
    return value(operator.get("/metrics"), "workerpool_leading") == 1


def _pair(start_operator: StartOperator) -> tuple[OperatorProcess, OperatorProcess]:
    """Two replicas, the leader first."""
    pair = [start_operator(until_ready=False) for _ in range(2)]
    for operator in pair:
        operator.wait_ready()
    (leader,) = wait_for(lambda: [operator for operator in pair if _leads(operator)], "one leads")
    return leader, next(operator for operator in pair if operator is not leader)


def _holder(space: Space) -> str:
    lease = space.api.get("Lease", "default", space.name)
    assert lease is not None
    return str(lease["spec"]["holderIdentity"])


def _push(server: RedisServer, count: int) -> None:
    with server.client() as client:
        client.rpush("jobs", *range(count))


def test_a_standby_takes_over_after_a_kill_and_at_once_after_a_clean_stop(
    space: Space, start_operator: StartOperator, redis_server: RedisServer
) -> None:
    first, second = _pair(start_operator)
    assert not _leads(second)
    assert second.get("/readyz") == "ready\n"
    _push(redis_server, 2)
    space.deployment("worker")
    space.pool("worker", redis_queue("jobs", url=redis_server.url), maximum=50, window=300)
    space.wait_replicas("worker", 2)
    wait_for(lambda: space.status("worker").get("lastScaleTime"), "the time of the scale")

    first.kill()
    killed_at = time.monotonic()
    _push(redis_server, 3)
    space.wait_replicas("worker", 5, seconds=TAKEOVER_SECONDS)
    assert time.monotonic() - killed_at < TAKEOVER_SECONDS

    first.start()
    assert not _leads(first)
    _push(redis_server, 1)
    space.wait_replicas("worker", 6, seconds=3)
    before = _holder(space)
    assert second.stop() == 0
    wait_for(lambda: _leads(first), "the first leads again", seconds=CLEAN_TAKEOVER_SECONDS)
    assert _holder(space) != before
    _push(redis_server, 1)
    space.wait_replicas("worker", 7, seconds=3)
    assert first.get("/healthz")
    for operator in (first, second):
        assert "Traceback" not in operator.log


def test_a_frozen_leader_does_nothing_when_it_wakes_up(
    space: Space, start_operator: StartOperator, redis_server: RedisServer
) -> None:
    first, second = _pair(start_operator)
    _push(redis_server, 2)
    space.deployment("worker")
    space.pool("worker", redis_queue("jobs", url=redis_server.url), maximum=50)
    space.wait_replicas("worker", 2)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: _leads(second), "the second leads", seconds=TAKEOVER_SECONDS)
        space.edit("worker", suspend=True)
        space.wait_condition("worker", "True", type_="Suspended")
        space.scale("worker", 4)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    space.replicas_stay("worker", 4, seconds=2)
    wait_for(lambda: not _leads(first), "the first has given up")
    holds_for(lambda: _leads(second), "the second leads on", seconds=1)
    assert second.stop() == 0
    wait_for(lambda: _leads(first), "the first leads again", seconds=CLEAN_TAKEOVER_SECONDS)
