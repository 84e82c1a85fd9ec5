"""pytest fixtures for the real servers: one process each for the session, as new for every test.

Register with ``pytest_plugins = ["tests.servers.fixtures"]`` in the root conftest. A test that stops, freezes
or locks a server need not clean up: the next test gets it running, open and empty.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer
from tests.servers.smtp import SMTPServer


@pytest.fixture(scope="session")
def shared_redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_rabbitmq_server() -> Iterator[RabbitMQServer]:
    with RabbitMQServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_smtp_server() -> Iterator[SMTPServer]:
    with SMTPServer() as server:
        yield server


@pytest.fixture
def redis_server(shared_redis_server: RedisServer) -> RedisServer:
    """An empty Redis server without password."""
    shared_redis_server.reset()
    return shared_redis_server


@pytest.fixture
def rabbitmq_server(shared_rabbitmq_server: RabbitMQServer) -> RabbitMQServer:
    """A running RabbitMQ server; other tests' vhosts may be in it."""
    shared_rabbitmq_server.reset()
    return shared_rabbitmq_server


@pytest.fixture
def rabbitmq_vhost(rabbitmq_server: RabbitMQServer) -> Iterator[str]:
    """The name of an empty vhost, removed after the test."""
    vhost = rabbitmq_server.add_vhost()
    yield vhost
    rabbitmq_server.reset()
    rabbitmq_server.remove_vhost(vhost)


@pytest.fixture
def smtp_server(shared_smtp_server: SMTPServer) -> SMTPServer:
    """A mail server with an empty mailbox that accepts everything."""
    shared_smtp_server.reset()
    return shared_smtp_server
