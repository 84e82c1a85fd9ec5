"""The RabbitMQ queue against a real broker: acknowledged after the work, bounded redelivery, confirmed moves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pika
import pika.exceptions
import pytest
import pytest_asyncio

from tests.servers.rabbitmq import RabbitMQServer
from tests.worker.harness import eventually
from workerpool_worker.errors import BrokerError
from workerpool_worker.queues.base import Claim
from workerpool_worker.queues.rabbitmq import ATTEMPTS, JOB_ID, RabbitMQQueue

pytestmark = pytest.mark.servers

Open = Callable[..., RabbitMQQueue]


class Broker:
    """A blocking look at one vhost, as any other client has it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel: Any = self._connection.channel()

    def publish(self, body: bytes, queue: str = "jobs", **properties: Any) -> None:
        self.channel.basic_publish("", queue, body, pika.BasicProperties(**properties))

    def depth(self, queue: str = "jobs") -> int:
        count: int = self.channel.queue_declare(queue, passive=True).method.message_count
        return count

    def get(self, queue: str) -> tuple[Any, bytes]:
        method, properties, body = self.channel.basic_get(queue, auto_ack=True)
        assert method is not None, f"{queue} is empty"
        return properties, body

    def close(self) -> None:
        with contextlib.suppress(pika.exceptions.AMQPError):
            self._connection.close()


@pytest.fixture
def broker(rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str) -> Iterator[Broker]:
    broker = Broker(rabbitmq_server.url_of(rabbitmq_vhost))
    yield broker
    broker.close()


@pytest_asyncio.fixture
async def open_queue(broker: Broker) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def opened(**changes: object) -> RabbitMQQueue:
            arguments: dict[str, object] = {
                "url": broker.url,
                "password": lambda: None,
                "queue": "jobs",
                "worker_id": "w",
                "prefetch": 2,
                "max_attempts": 3,
                "declare": True,
                "job_seconds": 60,
                **changes,
            }
            queue = RabbitMQQueue(**arguments)  # type: ignore[arg-type]
            stack.push_async_callback(queue.close)
            return queue

        yield opened


async def take(queue: RabbitMQQueue, count: int = 1) -> list[Claim]:
    taken: list[Claim] = []
    async with asyncio.timeout(10):
        while len(taken) < count:
            await queue.wait()
            taken += await queue.claim(count - len(taken))
    return taken


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, condition)


async def test_a_missing_queue_is_declared_durable(broker: Broker, open_queue: Open) -> None:
    await open_queue().claim(1)
    broker.channel.queue_declare("jobs", durable=True)  # the same arguments, else the broker would refuse


async def test_a_missing_queue_is_named_when_it_must_not_be_declared(open_queue: Open) -> None:
    with pytest.raises(BrokerError, match="no queue 'jobs'"):
        await open_queue(declare=False).claim(1)


@pytest.mark.parametrize("arguments", [{"x-max-priority": 10}, {"x-queue-type": "quorum"}, {"x-message-ttl": 900_000}])
async def test_an_existing_queue_is_taken_as_it_is(
    broker: Broker, open_queue: Open, arguments: dict[str, object]
) -> None:
    broker.channel.queue_declare("jobs", durable=True, arguments=arguments)
    broker.publish(b"a")
    queue = open_queue()
    [claim] = await take(queue)
    await queue.finish(claim)
    await queue.close()
    assert broker.depth() == 0


async def test_prefetch_bounds_what_is_in_hand_and_work_is_acknowledged_after(broker: Broker, open_queue: Open) -> None:
    broker.channel.queue_declare("jobs", durable=True)
    for body in (b"1", b"2", b"3"):
        broker.publish(body)
    queue = open_queue(prefetch=2)
    one, two = await take(queue, 2)
    assert [one.payload, two.payload] == [b"1", b"2"]
    assert broker.depth() == 1
    await queue.close()  # neither was finished
    await until(lambda: broker.depth() == 3)


async def test_a_dead_workers_job_comes_back_counted_and_a_poison_job_is_buried(
    broker: Broker, open_queue: Open
) -> None:
    broker.channel.queue_declare("jobs", durable=True)
    broker.publish(b"poison", message_id="p1", headers={"mine": "kept"}, priority=3)
    for attempts in (0, 1, 2):
        queue = open_queue()
        [claim] = await take(queue)
        assert (claim.attempts, claim.job_id, claim.payload) == (attempts, "p1", b"poison")
        await queue.close()
    survivor = open_queue()
    await survivor.claim(1)
    await until(lambda: broker.channel.queue_declare("jobs.dead", durable=True).method.message_count == 1)
    properties, body = broker.get("jobs.dead")
    assert body == b"poison"
    assert properties.headers[ATTEMPTS] == 3
    assert "worker died" in properties.headers["x-workerpool-reason"]
    assert properties.headers["mine"] == "kept"
    assert properties.priority == 3
    assert await survivor.claim(1) == []


async def test_a_quorum_queue_counts_dead_workers_itself(broker: Broker, open_queue: Open) -> None:
    broker.channel.queue_declare("jobs", durable=True, arguments={"x-queue-type": "quorum"})
    broker.publish(b"poison", delivery_mode=2)
    for attempts in (0, 1, 2):
        queue = open_queue()
        [claim] = await take(queue)
        assert claim.attempts == attempts
        await queue.close()
    await open_queue().claim(1)
    await until(lambda: broker.channel.queue_declare("jobs.dead", durable=True).method.message_count == 1)
    assert broker.get("jobs.dead")[0].headers[ATTEMPTS] == 3


async def test_a_retry_comes_back_after_its_delay_with_its_history(broker: Broker, open_queue: Open) -> None:
    broker.channel.queue_declare("jobs", durable=True)
    broker.publish(b"a", correlation_id="c")
    queue = open_queue()
    [claim] = await take(queue)
    await queue.retry(claim, 300)
    [again] = await take(queue)
    assert (again.attempts, again.job_id, again.payload) == (1, claim.job_id, b"a")
    assert again.first_at_ms == claim.first_at_ms
    await queue.retry(again, 300)
    [third] = await take(queue)
    assert third.attempts == 2


async def test_a_dead_letter_is_the_message_with_the_reason(broker: Broker, open_queue: Open) -> None:
    broker.channel.queue_declare("jobs", durable=True)
    broker.publish(b"\xff\x00", headers={"mine": 1})
    queue = open_queue()
    [claim] = await take(queue)
    await queue.bury(claim, "bad: it is not UTF-8")
    properties, body = broker.get("jobs.dead")
    assert body == b"\xff\x00"
    assert properties.delivery_mode == 2
    assert properties.headers["x-workerpool-reason"] == "bad: it is not UTF-8"
    assert properties.headers[ATTEMPTS] == 1
    assert properties.headers[JOB_ID] == claim.job_id
    await queue.close()
    assert broker.depth() == 0


async def test_an_existing_dead_letter_queue_is_used_as_it_is(broker: Broker, open_queue: Open) -> None:
    broker.channel.queue_declare("jobs", durable=True)
    broker.channel.queue_declare("jobs.dead", durable=True, arguments={"x-max-length": 1000})
    broker.publish(b"a")
    queue = open_queue()
    await queue.bury((await take(queue))[0], "why")
    assert broker.depth("jobs.dead") == 1


async def test_a_released_job_is_not_counted(broker: Broker, open_queue: Open) -> None:
    broker.channel.queue_declare("jobs", durable=True)
    broker.publish(b"a")
    first = open_queue(max_attempts=1)
    [claim] = await take(first)
    await first.stop_claiming()
    await first.release(claim)
    await first.close()
    [again] = await take(open_queue(max_attempts=1))
    assert (again.payload, again.attempts) == (b"a", 0)


async def test_stopping_gives_back_what_was_prefetched(broker: Broker, open_queue: Open) -> None:
    broker.channel.queue_declare("jobs", durable=True)
    broker.publish(b"1")
    broker.publish(b"2")
    queue = open_queue(prefetch=2)
    await queue.wait()
    await queue.stop_claiming()
    broker.publish(b"3")
    await until(lambda: broker.depth() == 3)
    await queue.close()
    assert sorted(broker.get("jobs")[1] for _ in range(3)) == [b"1", b"2", b"3"]


async def test_work_goes_on_over_a_lost_connection_and_is_not_done_twice(
    broker: Broker, open_queue: Open, rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str
) -> None:
    broker.channel.queue_declare("jobs", durable=True)
    broker.publish(json.dumps({"id": "long"}).encode())
    broker.publish(json.dumps({"id": "short"}).encode())
    queue = open_queue()
    long, short = await take(queue, 2)
    await until(lambda: rabbitmq_server.disconnect_clients(rabbitmq_vhost) >= 0 and not queue.connected)
    await queue.finish(short)  # while the connection is gone
    look = Broker(broker.url)
    assert await queue.claim(2) == []
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(take(queue, 1), 0.5)
    await queue.finish(long)
    await queue.close()
    assert look.depth() == 0
    look.close()


async def test_messages_are_pushed_durable_with_their_id(broker: Broker, open_queue: Open) -> None:
    await open_queue().push([("a-1", b"{}"), ("a-2", b"{}")])
    properties, body = broker.get("jobs")
    assert (properties.message_id, properties.delivery_mode, body) == ("a-1", 2, b"{}")


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("amqp://guest:wrong@127.0.0.1:{port}/%2F", "WORKER_BROKER_PASSWORD"),
        ("amqp://guest:guest@127.0.0.1:{port}/nowhere", "RabbitMQ"),
        ("amqp://guest:guest@127.0.0.1:1/%2F", "cannot be reached"),
    ],
)
async def test_connection_errors_say_the_mend_without_the_password(
    rabbitmq_server: RabbitMQServer, open_queue: Open, url: str, mend: str
) -> None:
    with pytest.raises(BrokerError, match=mend) as caught:
        await open_queue(url=url.format(port=rabbitmq_server.port)).claim(1)
    assert "wrong" not in str(caught.value)
