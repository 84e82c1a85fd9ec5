"""Readers of brokers as the operator makes them, listeners that are no broker, and a count of our sockets.

In: URLs. Out: readers that are closed after the test. The password in every test is PASSWORD, so that one fixture
can look for it in all that is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import pytest

from workerpool_operator.api import BrokerSpec, Depth, QueueSpec, SecretKeySelector, Unreadable
from workerpool_operator.brokers import (
    BrokerError,
    Layout,
    RabbitMQEndpoint,
    Reader,
    RedisEndpoint,
    endpoint_of,
    open_reader,
)
from workerpool_operator.brokers.layouts.rabbitmq_queue import RabbitMQQueueLayout
from workerpool_operator.brokers.layouts.redis_list import RedisListLayout

PASSWORD = "hunter2/:@?#[]%"
LIMIT = 5.0
"""Seconds that a read may take where it is not the time that is tested."""
SHORT = 0.5


def quoted(password: str = PASSWORD) -> str:
    """A password as it stands in a URL."""
    return quote(password, safe="")


def redis_endpoint(url: str) -> RedisEndpoint:
    """The endpoint of a URL that stands in a Secret."""
    endpoint = endpoint_of(_spec("redis", url), None, lambda _selector: url)
    assert isinstance(endpoint, RedisEndpoint)
    return endpoint


def rabbitmq_endpoint(url: str, management: str | None = None, vhost: str | None = None) -> RabbitMQEndpoint:
    """The endpoint of URLs that stand in a Secret, for a queue with or without its own virtual host."""

    def secret(selector: SecretKeySelector) -> str:
        return url if selector.key == "url" else str(management)

    queue = QueueSpec.model_validate(
        {"name": "q", "brokerRef": {"name": "b"}, "rabbitmq": {"queue": "q"} | ({"vhost": vhost} if vhost else {})}
    )
    endpoint = endpoint_of(_spec("rabbitmq", url, management), queue, secret)
    assert isinstance(endpoint, RabbitMQEndpoint)
    return endpoint


def _spec(kind: str, url: str, management: str | None = None) -> BrokerSpec:
    del url
    source = {"urlFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}}
    if management is not None:
        source["managementUrlFrom"] = {"secretKeyRef": {"name": "broker", "key": "managementUrl"}}
    return BrokerSpec.model_validate({kind: source})


@contextlib.asynccontextmanager
async def reading(endpoint: RedisEndpoint | RabbitMQEndpoint, limit: float = LIMIT) -> AsyncIterator[Reader]:
    """A reader, closed at the end."""
    reader = open_reader(endpoint, limit)
    try:
        yield reader
    finally:
        await reader.close()


def lists(*keys: str) -> list[Layout]:
    """Redis lists."""
    return [RedisListLayout(key) for key in keys]


def queues(*names: str) -> list[Layout]:
    """RabbitMQ queues."""
    return [RabbitMQQueueLayout(name) for name in names]


async def failure(reader: Reader, layouts: Sequence[Layout]) -> BrokerError:
    """Why the whole broker cannot be read. No trace of it may hold the password."""
    with pytest.raises(BrokerError) as failed:
        await reader.read(layouts)
    assert reader.server is None
    reading = failed.value.as_reading()
    assert reading.whole_broker
    assert PASSWORD not in f"{failed.value} {failed.value!r} {failed.value.message} {reading!r}"
    assert quoted() not in f"{failed.value} {failed.value!r} {failed.value.message} {reading!r}"
    return failed.value


async def once(endpoint: RedisEndpoint | RabbitMQEndpoint, layouts: Sequence[Layout]) -> list[Depth | Unreadable]:
    """One read over a connection of its own."""
    async with reading(endpoint) as reader:
        return await reader.read(layouts)


def unreadable(result: Depth | Unreadable) -> Unreadable:
    """The result, which must be an error of one queue alone."""
    assert isinstance(result, Unreadable)
    assert not result.whole_broker
    return result


async def until(condition: Callable[[], Awaitable[bool] | bool], seconds: float = 10.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        assert time.monotonic() < end, f"not within {seconds:g} s"
        await asyncio.sleep(0.02)


class Freezable(Protocol):
    """A server that can be stopped by a signal."""

    def freeze(self) -> None:
        """Stop it."""


async def frozen(server: Freezable, endpoint: RedisEndpoint | RabbitMQEndpoint) -> None:
    """Freeze a server and wait until it answers nothing: its threads stop a little after the signal."""

    async def hangs() -> bool:
        async with reading(endpoint, 0.2) as reader:
            try:
                await reader.read([])
            except BrokerError as error:
                return error.reason == "Timeout"
        return False

    server.freeze()
    await until(hangs)


def sockets() -> int:
    """Sockets that this process holds open."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += str(link.readlink()).startswith("socket:")
    return count


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[int]:
    """A listener on a free loopback port that treats each connection so; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError):
                await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(*, first: bytes = b"", always: bytes = b"") -> Answer:
    """Says `first` on connection, and `always` to everything that it is told."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while await reader.read(65536):
            writer.write(always)

    return answer


silent = saying()
