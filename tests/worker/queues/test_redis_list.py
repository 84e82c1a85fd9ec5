"""The Redis list against a real server: nothing is lost or doubled, and the operator can count from the keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.servers.redis import RedisServer
from tests.worker.harness import eventually
from workerpool_worker.errors import BrokerError
from workerpool_worker.queues.redis_list import RedisListQueue, companion_prefix

pytestmark = pytest.mark.servers

Open = Callable[..., RedisListQueue]


@pytest_asyncio.fixture
async def open_queue(redis_server: RedisServer) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def opened(**changes: object) -> RedisListQueue:
            arguments: dict[str, object] = {
                "url": redis_server.url,
                "password": lambda: None,
                "key": "jobs",
                "worker_id": "w",
                "lease_seconds": 1.0,
                "max_attempts": 3,
                **changes,
            }
            queue = RedisListQueue(**arguments)  # type: ignore[arg-type]
            stack.push_async_callback(queue.close)
            return queue

        yield opened


def client_of(server: RedisServer) -> Any:
    """A client whose answers are not annotated as any of what all commands may answer."""
    return server.client()


async def maintained(queue: RedisListQueue, until: Callable[[], bool], seconds: float = 10) -> None:
    """Run the queue's maintenance until a condition holds."""
    task = asyncio.create_task(queue.maintain())
    try:
        async with asyncio.timeout(seconds):
            while not until():
                assert not task.done(), task.exception()
                await asyncio.sleep(0.02)
    finally:
        task.cancel()


@pytest.mark.parametrize(
    ("key", "prefix"),
    [("jobs", "{jobs}"), ("app:jobs", "{app:jobs}"), ("{app}:jobs", "{app}:jobs"), ("a{}b", "{a{}b}")],
)
def test_companions_share_the_lists_cluster_slot(key: str, prefix: str) -> None:
    assert companion_prefix(key) == prefix


async def test_jobs_are_claimed_in_order_and_counted_in_flight(redis_server: RedisServer, open_queue: Open) -> None:
    client = client_of(redis_server)
    client.lpush("jobs", "a", "b", "c")
    queue = open_queue()
    claims = await queue.claim(2)
    assert [claim.payload for claim in claims] == [b"a", b"b"]
    assert (client.llen("jobs"), client.zcard("{jobs}:active"), client.hlen("{jobs}:claims")) == (1, 2, 2)
    for claim in claims:
        await queue.finish(claim)
    assert (client.zcard("{jobs}:active"), client.hlen("{jobs}:claims")) == (0, 0)


async def test_no_two_workers_get_the_same_job(redis_server: RedisServer, open_queue: Open) -> None:
    client_of(redis_server).lpush("jobs", *(str(number) for number in range(200)))

    async def take_all(queue: RedisListQueue) -> list[bytes]:
        taken: list[bytes] = []
        while claims := await queue.claim(3):
            taken += [claim.payload for claim in claims]
        return taken

    shares = await asyncio.gather(*(take_all(open_queue()) for _ in range(4)))
    everything = [int(payload) for share in shares for payload in share]
    assert sorted(everything) == list(range(200))


async def test_waiting_takes_nothing_and_ends_when_a_job_comes(redis_server: RedisServer, open_queue: Open) -> None:
    client = client_of(redis_server)
    client.rpush("jobs", "b", "a")
    await open_queue().wait()
    assert client.lrange("jobs", 0, -1) == ["b", "a"]
    client.delete("jobs")
    waiting = [asyncio.create_task(open_queue().wait()) for _ in range(3)]
    await asyncio.sleep(0.1)
    client.lpush("jobs", "x")
    async with asyncio.timeout(2):
        await asyncio.gather(*waiting)
    assert client.lrange("jobs", 0, -1) == ["x"]


async def test_a_cancelled_wait_leaves_the_queue_usable(redis_server: RedisServer, open_queue: Open) -> None:
    queue = open_queue()
    task = asyncio.create_task(queue.wait())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait({task})
    client_of(redis_server).lpush("jobs", "x")
    await queue.wait()
    assert [claim.payload for claim in await queue.claim(1)] == [b"x"]


async def test_an_expired_claim_comes_back_with_its_attempt_counted(
    redis_server: RedisServer, open_queue: Open
) -> None:
    client = client_of(redis_server)
    client.lpush("jobs", '{"id":"j1"}', "later")
    dead_worker, living = open_queue(lease_seconds=0.5), open_queue()
    first = (await dead_worker.claim(1))[0]
    await maintained(living, lambda: client.llen("jobs") == 2)
    second = (await living.claim(1))[0]
    assert (second.job_id, second.payload, second.attempts) == ("j1", b'{"id":"j1"}', 1)
    assert second.first_at_ms == first.first_at_ms


async def test_a_running_jobs_lease_is_renewed(redis_server: RedisServer, open_queue: Open) -> None:
    client = client_of(redis_server)
    client.lpush("jobs", "a")
    queue = open_queue(lease_seconds=0.5)
    claim = (await queue.claim(1))[0]
    first_deadline = client.zscore("{jobs}:active", claim.id)
    await maintained(queue, lambda: client.zscore("{jobs}:active", claim.id) > first_deadline + 1000)
    assert client.llen("jobs") == 0
    await queue.finish(claim)
    assert client.zcard("{jobs}:active") == 0


async def test_a_job_that_kills_its_workers_is_buried(redis_server: RedisServer, open_queue: Open) -> None:
    client = client_of(redis_server)
    client.lpush("jobs", "poison")
    living = open_queue()
    for _ in range(3):
        await open_queue(lease_seconds=0.5).claim(1)
        await maintained(living, lambda: client.zcard("{jobs}:active") == 0)
    assert client.llen("jobs") == 0
    letter = json.loads(client.lindex("{jobs}:dead", 0))
    assert (letter["payload"], letter["attempts"]) == ("poison", 3)
    assert "worker died" in letter["reason"]


async def test_a_retry_waits_its_delay_and_keeps_its_history(redis_server: RedisServer, open_queue: Open) -> None:
    client = client_of(redis_server)
    client.lpush("jobs", b"\xff raw")
    queue = open_queue()
    claim = (await queue.claim(1))[0]
    await queue.retry(claim, 60_000)
    [(member, due)] = client.zrange("{jobs}:delayed", 0, -1, withscores=True)
    now_ms = int(client.time()[0]) * 1000
    assert 55_000 < due - now_ms < 65_000
    assert client.zcard("{jobs}:active") == 0
    client.zadd("{jobs}:delayed", {member: now_ms - 1})
    await maintained(queue, lambda: client.llen("jobs") == 1)
    again = (await queue.claim(1))[0]
    assert (again.payload, again.attempts, again.job_id) == (b"\xff raw", 1, claim.job_id)


async def test_equal_jobs_are_retried_as_two(redis_server: RedisServer, open_queue: Open) -> None:
    client = client_of(redis_server)
    client.lpush("jobs", '{"id":"same"}', '{"id":"same"}')
    queue = open_queue()
    for claim in await queue.claim(2):
        await queue.retry(claim, 60_000)
    assert client.zcard("{jobs}:delayed") == 2


async def test_a_released_job_waits_at_once_as_it_was(redis_server: RedisServer, open_queue: Open) -> None:
    client = client_of(redis_server)
    client.lpush("jobs", "first", "second")
    queue = open_queue()
    await queue.release((await queue.claim(1))[0])
    assert client.lrange("jobs", 0, -1) == ["second", "first"]
    assert client.zcard("{jobs}:active") == 0


async def test_who_lost_the_lease_cannot_double_the_job(redis_server: RedisServer, open_queue: Open) -> None:
    client = client_of(redis_server)
    client.lpush("jobs", "a")
    slow, living = open_queue(lease_seconds=0.5), open_queue()
    claim = (await slow.claim(1))[0]
    await maintained(living, lambda: client.llen("jobs") == 1)
    await slow.retry(claim, 1)
    await slow.bury(claim, "late")
    await slow.release(claim)
    assert (client.llen("jobs"), client.zcard("{jobs}:delayed"), client.llen("{jobs}:dead")) == (1, 0, 0)


async def test_the_layout_key_tells_the_operator_that_claims_count(redis_server: RedisServer, open_queue: Open) -> None:
    client = client_of(redis_server)
    queue = open_queue()
    await maintained(queue, lambda: client.get("{jobs}:layout") == "workerpool/1")
    client.flushall()
    await maintained(queue, lambda: client.get("{jobs}:layout") == "workerpool/1")


async def test_a_claim_whose_answer_was_lost_is_given_back_uncounted(
    redis_server: RedisServer, open_queue: Open
) -> None:
    client = client_of(redis_server)
    queue = open_queue(lease_seconds=60)
    await queue.claim(1)
    client.lpush("jobs", "a")
    redis_server.freeze()
    claiming = asyncio.create_task(queue.claim(1))
    await asyncio.sleep(0.1)
    await queue.close()  # the answer finds no reader
    redis_server.thaw()
    with pytest.raises((BrokerError, asyncio.CancelledError)):
        await asyncio.wait_for(claiming, 15)
    await asyncio.to_thread(eventually, lambda: client.zcard("{jobs}:active") == 1)
    [claim] = await queue.claim(1)
    assert (claim.payload, claim.attempts) == (b"a", 0)


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        (lambda server: client_of(server).set("jobs", "text"), "name the key of a list"),
        (lambda server: server.set_password("secret"), "refuses the login"),
        (lambda server: server.stop(), "Redis"),
    ],
)
async def test_errors_say_the_mend(
    redis_server: RedisServer, open_queue: Open, spoil: Callable[[RedisServer], object], mend: str
) -> None:
    spoil(redis_server)
    queue = open_queue(url=f"redis://127.0.0.1:{redis_server.port}")
    with pytest.raises(BrokerError, match=mend):
        await queue.claim(1)
    assert not queue.connected


async def test_a_rotated_password_is_read_again(redis_server: RedisServer, open_queue: Open) -> None:
    passwords = ["old"]
    redis_server.set_password("old")
    queue = open_queue(url=f"redis://127.0.0.1:{redis_server.port}", password=lambda: passwords[-1])
    await queue.claim(1)
    redis_server.set_password("new")
    redis_server.disconnect_clients()
    passwords.append("new")
    with pytest.raises(BrokerError):
        await queue.claim(1)  # finds the connection closed
    assert await queue.claim(1) == []


async def test_an_acl_user_needs_only_the_lists_keys(redis_server: RedisServer, open_queue: Open) -> None:
    redis_server.add_user("worker", "pw", "~jobs", "~{jobs}:*", "+@all", "-@admin")
    url = redis_server.url_of("worker", "pw")
    queue = open_queue(url=url)
    client_of(redis_server).lpush("jobs", "a")
    await queue.wait()
    [claim] = await queue.claim(1)
    await queue.bury(claim, "why")
    assert client_of(redis_server).llen("{jobs}:dead") == 1
