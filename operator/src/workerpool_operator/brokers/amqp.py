"""pika's callback connection as an awaitable one.

Comes in: an endpoint. Goes out: an open connection, channels, and passive declares, as coroutines. Nothing here
waits longer than the caller's own time limit.
"""

import asyncio
import ssl
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import AMQPConnectionError, AMQPError, ConnectionClosedByClient

from workerpool_operator.brokers.endpoint import RabbitMQEndpoint


class _Connection(AsyncioConnection):  # type: ignore[misc] # pika ships no types
    def abort(self) -> None:
        """End the stream without the closing handshake, which a broker that hangs would never answer."""
        self._terminate_stream(ConnectionClosedByClient(200, "aborted"))


class AmqpConnection:
    """One connection. Every failure of it fails all that waits on it."""

    def __init__(self, endpoint: RabbitMQEndpoint, timeout: float) -> None:
        # Not by URLParameters, which evaluates literals and fails in many ways on a URL that is only odd.
        parameters = pika.ConnectionParameters(
            host=endpoint.host,
            port=endpoint.port,
            virtual_host=endpoint.vhost,
            credentials=pika.PlainCredentials(*endpoint.user),
            heartbeat=endpoint.heartbeat,
            ssl_options=pika.SSLOptions(ssl.create_default_context()) if endpoint.tls else None,
            client_properties={"connection_name": "workerpool-operator"},
            connection_attempts=1,
            # The caller's time limit comes first; these are for what it cannot reach.
            socket_timeout=timeout + 1,
            stack_timeout=timeout + 1,
        )
        self._parameters = parameters
        self._connection: _Connection | None = None
        self._waiting: set[asyncio.Future[Any]] = set()

    async def open(self) -> None:
        """Connect.

        Raises:
            AMQPError: refused or broken off.
        """
        opened: asyncio.Future[Any] = self._future()
        self._connection = _Connection(
            self._parameters,
            on_open_callback=lambda _connection: _resolve(opened, None),
            on_open_error_callback=lambda _connection, error: self._fail_all(_as_amqp_error(error)),
            on_close_callback=lambda _connection, error: self._fail_all(_as_amqp_error(error)),
            custom_ioloop=asyncio.get_running_loop(),
        )
        await opened

    @property
    def is_open(self) -> bool:
        """False before it is open, and once it is lost."""
        return self._connection is not None and bool(self._connection.is_open)

    @property
    def server_version(self) -> str:
        """What the server calls itself."""
        properties = (self._connection.server_properties if self._connection else None) or {}
        product, version = properties.get("product", "AMQP"), properties.get("version", "unknown")
        return f"{_text(product)} {_text(version)}"

    async def channel(self) -> "AmqpChannel":
        """Open a channel."""
        if self._connection is None:
            raise AMQPError("not connected")
        opened = self._future()
        channel = self._connection.channel(on_open_callback=lambda _channel: _resolve(opened, None))
        wrapped = AmqpChannel(channel, self)
        await opened
        return wrapped

    def abort(self) -> None:
        """Drop the connection at once; whatever waits on it fails."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed:
            connection.abort()
        self._fail_all(AMQPError("connection dropped"))

    def _future(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return future

    def _fail_all(self, error: AMQPError) -> None:
        for future in tuple(self._waiting):
            _reject(future, error)


class AmqpChannel:
    """One channel: one passive declare at a time."""

    def __init__(self, channel: Any, connection: AmqpConnection) -> None:  # noqa: ANN401 - pika ships no types
        self._channel = channel
        self._connection = connection
        self._pending: asyncio.Future[Any] | None = None
        channel.add_on_close_callback(self._on_close)

    @property
    def is_open(self) -> bool:
        """False once the broker closed it, as it does after a failed declare."""
        return bool(self._channel.is_open)

    async def ready_messages(self, queue: str) -> int:
        """Ready messages of a queue, by a passive declare.

        Raises:
            ChannelClosedByBroker: 404 no such queue, 403 not allowed, 405 exclusive to another connection.
            AMQPError: the connection broke.
        """
        self._pending = self._connection._future()
        self._channel.queue_declare(queue, passive=True, callback=self._on_declared)
        return int(await self._pending)

    async def ping(self) -> None:
        """Wait for an answer of the broker, to whatever needs neither a queue nor a permission.

        Raises:
            AMQPError: the connection broke.
        """
        self._pending = self._connection._future()
        self._channel.basic_qos(callback=lambda _frame: self._answered(None))
        await self._pending

    def _on_declared(self, frame: Any) -> None:  # noqa: ANN401 - pika ships no types
        self._answered(frame.method.message_count)

    def _answered(self, value: object) -> None:
        if self._pending is not None:
            _resolve(self._pending, value)

    def _on_close(self, _channel: object, reason: Exception) -> None:
        if self._pending is not None:
            _reject(self._pending, reason)


def _resolve(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _reject(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        # A future nobody awaits any more (the read timed out) must not log "exception was never retrieved".
        future.exception()


def _as_amqp_error(error: BaseException | str) -> AMQPError:
    """Pika passes errors of its own, of the system, and wrapped ones that are none of AMQPError."""
    return error if isinstance(error, AMQPError) else AMQPConnectionError(error)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
