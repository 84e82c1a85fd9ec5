"""Many pools: what is broken among them delays nobody else."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.running.api import wait_for
from tests.running.gate import Gate
from tests.running.operator_process import OperatorProcess
from tests.running.space import Space, redis_queue
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.servers]

_POOLS = 200
# A sample each second, and what the machine adds.
_ONE_SECONDS = 1.6
# The API server writes a few hundred scales a second on two cores.
_ALL_SECONDS = 5.0


@pytest.fixture
def silent_addresses() -> Iterator[list[str]]:
    """Brokers that accept and never answer."""
    with ExitStack() as gates:
        yield [f"127.0.0.1:{gates.enter_context(Gate('127.0.0.1', 1, 'mute')).port}" for _ in range(8)]


def _replicas(space: Space) -> dict[str, int]:
    return {item["metadata"]["name"]: item["spec"]["replicas"] for item in space.api.list("Deployment", space.name)}


def test_a_broken_key_and_silent_brokers_delay_no_other_of_200_pools(
    space: Space, operator_process: OperatorProcess, redis_server: RedisServer, silent_addresses: list[str]
) -> None:
    names = [f"worker-{number}" for number in range(_POOLS)]
    with ThreadPoolExecutor(8) as threads, redis_server.client() as client:
        client.set("broken", "no list")
        queues = [("broken", redis_queue("broken", url=redis_server.url), 2)]
        queues += [(name, redis_queue(name, url=redis_server.url), 0) for name in names]
        for number, address in enumerate(silent_addresses):
            queues.append((f"silent-{number}", redis_queue("jobs", url=f"redis://{address}"), 2))
        list(threads.map(lambda queue: _create(space, *queue), queues))
        space.wait_condition("broken", "False", "WrongType")
        for number in range(len(silent_addresses)):
            space.wait_condition(f"silent-{number}", "False", "Timeout")
        for name in names[:3]:
            client.rpush(name, "job")
            space.wait_replicas(name, 1, seconds=_ONE_SECONDS)
        for name in names:
            client.rpush(name, "job", "job", "job")
        pushed_at = time.monotonic()
        wait_for(
            lambda: sum(count >= 3 for count in _replicas(space).values()) == _POOLS,
            "all healthy pools are scaled",
            seconds=_ALL_SECONDS,
            every=0.2,
            show=lambda: sum(count >= 3 for count in _replicas(space).values()),
        )
        assert time.monotonic() - pushed_at < _ALL_SECONDS
        events = wait_for(lambda: len(space.events(names[-1], "ScaledUp")), "its event")
        assert events == 1
    replicas = _replicas(space)
    assert {name: count for name, count in replicas.items() if name not in names} == {
        "broken": 2,
        **{f"silent-{number}": 2 for number in range(len(silent_addresses))},
    }
    assert operator_process.get("/healthz")


def _create(space: Space, name: str, queue: dict[str, object], replicas: int) -> None:
    space.deployment(name, replicas)
    space.pool(name, queue)
