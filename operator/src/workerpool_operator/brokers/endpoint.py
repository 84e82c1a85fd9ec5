"""From what a user wrote to what is connected to and read.

Comes in: connections of the API with their Secret values. Goes out: endpoints (equal ones share a reader) and
layouts. A URL that came out of a Secret is checked here, since the API server could not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from workerpool_operator.api import BrokerSpec, QueueSpec, RedisConnection, SecretKeySelector
from workerpool_operator.api.queuebroker import (
    AMQP_SCHEMES,
    AMQP_URL_MESSAGE,
    HTTP_SCHEMES,
    HTTP_URL_MESSAGE,
    REDIS_SCHEMES,
    REDIS_URL_MESSAGE,
    ValueSource,
)
from workerpool_operator.brokers.base import BrokerError, Layout
from workerpool_operator.brokers.layouts.rabbitmq_queue import RabbitMQQueueLayout
from workerpool_operator.brokers.layouts.redis_list import RedisListLayout

SecretValue = Callable[[SecretKeySelector], str]

_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671, "http": 80, "https": 443}


def _address(url: str) -> str:
    """host:port of a checked URL, without its credentials."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"


@dataclass(frozen=True, slots=True)
class RedisEndpoint:
    """A Redis server and database with credentials."""

    url: str = field(repr=False)

    def address(self) -> str:
        """host:port/database, for messages and metrics."""
        return _address(self.url) + urlsplit(self.url).path.rstrip("/")


@dataclass(frozen=True, slots=True)
class RabbitMQEndpoint:
    """A RabbitMQ server and virtual host with credentials.

    Attributes:
        url: AMQP URL; its path is the virtual host.
        management_url: base URL of the management API without credentials, or None.
        management_user: user and password for it.
    """

    url: str = field(repr=False)
    management_url: str | None = None
    management_user: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def vhost(self) -> str:
        """The virtual host, decoded."""
        return unquote(urlsplit(self.url).path.removeprefix("/")) or "/"

    def address(self) -> str:
        """host:port/vhost, for messages and metrics."""
        return f"{_address(self.url)}/{'' if self.vhost == '/' else self.vhost}"


def _checked(url: str, schemes: tuple[str, ...], message: str) -> str:
    url = url.strip()
    if not url.startswith(schemes):
        raise BrokerError("InvalidURL", message)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise BrokerError("InvalidURL", f"the URL cannot be parsed; check host and port; {message}") from None
    if not parts.hostname:
        raise BrokerError("InvalidURL", f"the URL names no host; {message}")
    return url


def _value(url: str | None, source: ValueSource | None, secret: SecretValue) -> str | None:
    return url if source is None else secret(source.secret_key_ref)


def _user(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def endpoint_of(broker: BrokerSpec, queue: QueueSpec | None, secret: SecretValue) -> RedisEndpoint | RabbitMQEndpoint:
    """The endpoint at which a queue is read.

    Args:
        broker: the connection.
        queue: the queue, for its virtual host; None for the broker's own.
        secret: gives the value of a Secret's key, or raises BrokerError.

    Raises:
        BrokerError: a Secret is missing, or a URL is not one of its broker.
    """
    connection = broker.connection
    raw = _value(connection.url, connection.url_from, secret) or ""
    if isinstance(connection, RedisConnection):
        return RedisEndpoint(_checked(raw, REDIS_SCHEMES, REDIS_URL_MESSAGE))
    url = _checked(raw, AMQP_SCHEMES, AMQP_URL_MESSAGE)
    parts = urlsplit(url)
    vhost = queue.rabbitmq.vhost if queue is not None and queue.rabbitmq is not None else None
    path = quote(vhost, safe="") if vhost else parts.path.removeprefix("/") or "%2F"
    url = parts._replace(path=f"/{path}").geturl()
    management = _value(connection.management_url, connection.management_url_from, secret)
    if management is None:
        return RabbitMQEndpoint(url)
    management = _checked(management, HTTP_SCHEMES, HTTP_URL_MESSAGE)
    return RabbitMQEndpoint(url, _without_user(management), _user(management) or _user(url) or ("guest", "guest"))


def layout_of(queue: QueueSpec) -> Layout:
    """Where the queue keeps its jobs."""
    if queue.redis_list is not None:
        return RedisListLayout(queue.redis_list.key)
    if queue.rabbitmq is not None:
        return RabbitMQQueueLayout(queue.rabbitmq.queue)
    raise ValueError(f"queue {queue.name} is of no known kind")
