"""Fixtures of the end-to-end tests: more brokers than the session's one of each."""

from collections.abc import Iterator

import pytest

from tests.running.publisher import Publisher
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer


@pytest.fixture(scope="session")
def _second_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def second_redis(_second_redis: RedisServer) -> RedisServer:
    """One more empty Redis server without password."""
    _second_redis.reset()
    return _second_redis


@pytest.fixture
def publisher(rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str) -> Iterator[Publisher]:
    """Fills and empties queues of the test's vhost."""
    with Publisher(rabbitmq_server.url_of(rabbitmq_vhost)) as publisher:
        yield publisher
