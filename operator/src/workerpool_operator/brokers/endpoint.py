"""From what a user wrote to what is connected to and read.

Comes in: connections of the API with their Secret values. Goes out: endpoints (equal ones share a reader) and
layouts. A URL that came out of a Secret is checked here, since the API server could not.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

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
_REDIS_OPTIONS = frozenset({"db", "ssl_cert_reqs"})
_AMQP_OPTIONS = frozenset({"heartbeat"})
# AMQP's limit for the name of a virtual host and of a queue.
LONGEST_NAME_BYTES = 255
_LONGEST_HEARTBEAT = 65_535
_MOST_DATABASES = 2**31 - 1
_NO_HOST = re.compile(r"[\s\x00-\x1f\x7f]")


def _address(url: str) -> str:
    """host:port of a checked URL, without its credentials."""
    host = _host(url)
    return f"[{host}]:{_port(url)}" if ":" in host else f"{host}:{_port(url)}"


def _host(url: str) -> str:
    return urlsplit(url).hostname or "localhost"


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or _DEFAULT_PORTS[parts.scheme]


def _options(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class RedisEndpoint:
    """A Redis server and database with credentials."""

    url: str = field(repr=False)

    @property
    def host(self) -> str:
        """Name or address of the server."""
        return _host(self.url)

    @property
    def port(self) -> int:
        """TCP port of the server."""
        return _port(self.url)

    @property
    def database(self) -> int:
        """Number of the database."""
        return int(_options(self.url).get("db") or urlsplit(self.url).path.strip("/") or 0)

    @property
    def user(self) -> tuple[str | None, str | None]:
        """User and password; None where the URL has none."""
        parts = urlsplit(self.url)
        return unquote(parts.username or "") or None, unquote(parts.password or "") or None

    @property
    def tls(self) -> bool:
        """Whether to connect over TLS."""
        return self.url.startswith("rediss://")

    @property
    def verify(self) -> bool:
        """Whether to check the server's certificate."""
        return _options(self.url).get("ssl_cert_reqs", "required") != "none"

    def address(self) -> str:
        """host:port/database, for messages and metrics."""
        return f"{_address(self.url)}/{self.database}"


@dataclass(frozen=True, slots=True)
class RabbitMQEndpoint:
    """A RabbitMQ server and virtual host with credentials.

    Attributes:
        url: AMQP URL; its path is the virtual host, percent-encoded.
        management_url: base URL of the management API without credentials, or None.
        management_user: user and password for it.
    """

    url: str = field(repr=False)
    management_url: str | None = None
    management_user: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """Name or address of the server."""
        return _host(self.url)

    @property
    def port(self) -> int:
        """TCP port of the server."""
        return _port(self.url)

    @property
    def vhost(self) -> str:
        """The virtual host, decoded."""
        return unquote(urlsplit(self.url).path.removeprefix("/")) or "/"

    @property
    def user(self) -> tuple[str, str]:
        """User and password."""
        return _user(self.url) or _GUEST

    @property
    def tls(self) -> bool:
        """Whether to connect over TLS."""
        return self.url.startswith("amqps://")

    @property
    def heartbeat(self) -> int | None:
        """Seconds between heartbeats; None for what the server proposes."""
        heartbeat = _options(self.url).get("heartbeat")
        return int(heartbeat) if heartbeat is not None else None

    def address(self) -> str:
        """host:port/vhost, for messages and metrics."""
        return f"{_address(self.url)}/{'' if self.vhost == '/' else self.vhost}"


# What RabbitMQ and its clients take where no user is named.
_GUEST = ("guest", "guest")


def _invalid(problem: str, message: str) -> BrokerError:
    """No part of the URL may come into the message: where it cannot be parsed, any part may be the password."""
    return BrokerError("InvalidURL", f"{problem}; {message}")


def _checked(url: str, schemes: tuple[str, ...], message: str, options: frozenset[str] = frozenset()) -> str:
    url = url.strip()
    if not url.startswith(schemes):
        raise BrokerError("InvalidURL", message)
    try:
        parts = urlsplit(url)
        usable = parts.port != 0
    except ValueError:
        raise _invalid("the URL cannot be parsed; check host and port", message) from None
    if "@" in parts.path + parts.query or parts.fragment:
        raise _invalid("the URL has an @ or # after the host; percent-encode special characters", message)
    if not parts.hostname:
        raise _invalid("the URL names no host", message)
    if not usable or not _is_host(parts.hostname):
        raise _invalid("the URL names no possible host and port", message)
    if not _options(url).keys() <= options:
        allowed = f"only {' and '.join(sorted(options))} may follow the ?" if options else "nothing may follow a ?"
        raise _invalid(f"the URL has an option that is not supported: {allowed}", message)
    return url


def _is_host(host: str) -> bool:
    """Whether the name may be asked of a resolver, which fails in odd ways on others."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return _NO_HOST.search(host) is None


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most


def _checked_redis(url: str) -> RedisEndpoint:
    endpoint = RedisEndpoint(_checked(url, REDIS_SCHEMES, REDIS_URL_MESSAGE, _REDIS_OPTIONS))
    # A client that takes an unreadable number for 0 would find every queue empty.
    number = _options(endpoint.url).get("db", urlsplit(endpoint.url).path.strip("/"))
    if number and not _is_number(number, _MOST_DATABASES):
        raise _invalid("the URL's database is not a number", REDIS_URL_MESSAGE)
    if _options(endpoint.url).get("ssl_cert_reqs", "none") not in {"none", "required"}:
        raise _invalid("the URL's ssl_cert_reqs is neither none nor required", REDIS_URL_MESSAGE)
    return endpoint


def _checked_amqp(url: str, vhost: str | None) -> RabbitMQEndpoint:
    url = _checked(url, AMQP_SCHEMES, AMQP_URL_MESSAGE, _AMQP_OPTIONS)
    parts = urlsplit(url)
    vhost = vhost or unquote(parts.path.removeprefix("/")) or "/"
    if len(vhost.encode()) > LONGEST_NAME_BYTES:
        raise _invalid(f"the virtual host is longer than {LONGEST_NAME_BYTES} bytes", AMQP_URL_MESSAGE)
    if not _is_number(_options(url).get("heartbeat", "0"), _LONGEST_HEARTBEAT):
        raise _invalid("the URL's heartbeat is not a number of seconds", AMQP_URL_MESSAGE)
    return RabbitMQEndpoint(parts._replace(path=f"/{quote(vhost, safe='')}").geturl())


def _value(url: str | None, source: ValueSource | None, secret: SecretValue) -> str | None:
    return url if source is None else secret(source.secret_key_ref)


def _user(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def endpoint_of(
    broker: BrokerSpec, queue: QueueSpec | None, secret: SecretValue, *, domain: str | None = None
) -> RedisEndpoint | RabbitMQEndpoint:
    """The endpoint at which a queue is read.

    Args:
        broker: the connection.
        queue: the queue, for its virtual host; None for the broker's own.
        secret: gives the value of a Secret's key, or raises BrokerError.
        domain: what a host name without a dot is completed with, such as `media.svc`; None leaves it as it is.

    Raises:
        BrokerError: a Secret is missing, or a URL is not one of its broker.
    """
    connection = broker.connection
    raw = _value(connection.url, connection.url_from, secret) or ""
    if isinstance(connection, RedisConnection):
        return RedisEndpoint(_qualified(_checked_redis(raw).url, domain))
    vhost = queue.rabbitmq.vhost if queue is not None and queue.rabbitmq is not None else None
    endpoint = _checked_amqp(raw, vhost)
    management = _value(connection.management_url, connection.management_url_from, secret)
    url = _qualified(endpoint.url, domain)
    if management is None:
        return RabbitMQEndpoint(url)
    management = _checked(management, HTTP_SCHEMES, HTTP_URL_MESSAGE)
    user = _user(management) or endpoint.user
    if ":" in user[0]:
        raise _invalid("a user with a colon in its name cannot use the management API", HTTP_URL_MESSAGE)
    return RabbitMQEndpoint(url, _qualified(_without_user(management), domain), user)


def _qualified(url: str, domain: str | None) -> str:
    """The URL with a bare host name completed: users mean the Service that their pods know by that name."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if domain is None or not host or host == "localhost" or "." in host or ":" in host:
        return url
    user, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=f"{user}{at}{host}.{domain}{port}").geturl()


def layout_of(queue: QueueSpec) -> Layout:
    """Where the queue keeps its jobs."""
    if queue.redis_list is not None:
        return RedisListLayout(queue.redis_list.key)
    if queue.rabbitmq is not None:
        return RabbitMQQueueLayout(queue.rabbitmq.queue)
    raise ValueError(f"queue {queue.name} is of no known kind")
