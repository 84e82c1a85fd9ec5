"""Reads all queues of one RabbitMQ virtual host: waiting over AMQP, in flight over the management API.

Comes in: an endpoint and layouts. Goes out: their depths. A missing queue closes the channel that asked for it:
queues are spread over a few channels, and one that closes is opened again, so that its neighbours are read.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import cast

from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed, AMQPConnectorPhaseErrorBase
from pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from workerpool_operator.api import Depth, Unreadable
from workerpool_operator.brokers.amqp import AmqpChannel, AmqpConnection
from workerpool_operator.brokers.base import AUTHENTICATION_FAILED, MEND, BrokerError, Layout, ServerInfo, system_words
from workerpool_operator.brokers.endpoint import LONGEST_NAME_BYTES, RabbitMQEndpoint
from workerpool_operator.brokers.layouts.rabbitmq_queue import RabbitMQQueueLayout
from workerpool_operator.brokers.management import ManagementApi

# A declare takes 0.25 ms in sequence; more channels than this make 10,000 queues no faster.
_MOST_CHANNELS = 16
_QUEUES_A_CHANNEL = 8
# To the HTTP client 0 means no limit.
_SHORTEST_CALL_SECONDS = 0.01


class RabbitMQReader:
    """A `Reader` of one RabbitMQ virtual host."""

    def __init__(self, endpoint: RabbitMQEndpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._connection: AmqpConnection | None = None
        self._channels: list[AmqpChannel] = []
        self._management = ManagementApi.of(endpoint)
        self.server: ServerInfo | None = None

    async def read(self, layouts: Sequence[Layout]) -> list[Depth | Unreadable]:
        """The depth of each queue, in order.

        Raises:
            BrokerError: the broker cannot be read at all.
        """
        queues = [layout.queue for layout in cast("Sequence[RabbitMQQueueLayout]", layouts)]
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(deadline):
                connection = await self._connected()
                ready = await self._ready(connection, queues)
        except Exception as error:  # noqa: BLE001
            # Any: what is no RabbitMQ may answer anything, and the library then fails in any way.
            await self._drop()
            raise self._broker_error(error) from None
        # In flight is read after waiting: a job that is claimed in between counts twice, never not at all.
        if self._management is None or not queues:
            return [ready[queue] for queue in queues]
        left = deadline - asyncio.get_running_loop().time()
        unacked = await self._management.unacknowledged(max(left, _SHORTEST_CALL_SECONDS))
        if isinstance(unacked, Unreadable):
            return [_without_in_flight(ready[queue], unacked) for queue in queues]
        return [_with_in_flight(ready[queue], unacked.get(queue)) for queue in queues]

    async def close(self) -> None:
        """Let go of the connections."""
        await self._drop()
        if self._management is not None:
            await self._management.close()

    async def _drop(self) -> None:
        connection, self._connection, self.server = self._connection, None, None
        self._channels = []
        if connection is not None:
            connection.abort()

    async def _connected(self) -> AmqpConnection:
        if self._connection is not None and self._connection.is_open:
            return self._connection
        await self._drop()
        connection = AmqpConnection(self._endpoint, self._timeout)
        self._connection = connection
        await connection.open()
        self.server = ServerInfo(connection.server_version)
        return connection

    async def _ready(self, connection: AmqpConnection, queues: Sequence[str]) -> dict[str, Depth | Unreadable]:
        distinct = list(dict.fromkeys(queues))
        lanes = max(1, min(_MOST_CHANNELS, len(distinct) // _QUEUES_A_CHANNEL))
        self._channels = [channel for channel in self._channels if channel.is_open]
        if not distinct:
            await self._ping(connection)
        depths: dict[str, Depth | Unreadable] = {}
        names = iter(distinct)
        channels = [*self._channels, *[None] * lanes][:lanes]
        await asyncio.gather(*(self._lane(connection, channel, names, depths) for channel in channels))
        return depths

    async def _ping(self, connection: AmqpConnection) -> None:
        """See that the broker answers, where there is no queue to ask for."""
        if not self._channels:
            self._channels.append(await connection.channel())
        await self._channels[0].ping()

    async def _lane(
        self,
        connection: AmqpConnection,
        channel: AmqpChannel | None,
        names: Iterator[str],
        depths: dict[str, Depth | Unreadable],
    ) -> None:
        """Read queues off the shared iterator over one channel until none is left."""
        for name in names:
            if len(name.encode()) > LONGEST_NAME_BYTES:
                message = f"no queue has a name of more than {LONGEST_NAME_BYTES} bytes; correct the name"
                depths[name] = Unreadable("QueueMissing", message)
                continue
            if channel is None or not channel.is_open:
                channel = await connection.channel()
                self._channels.append(channel)
            try:
                depths[name] = Depth(await channel.ready_messages(name))
            except ChannelClosedByBroker as error:
                depths[name] = self._queue_error(name, error)

    def _queue_error(self, queue: str, error: ChannelClosedByBroker) -> Unreadable:
        where = f"queue {queue} in vhost {self._endpoint.vhost}"
        match error.reply_code:
            case 404:
                return Unreadable("QueueMissing", f"{where} does not exist; declare it, or correct its name")
            case 403:
                return Unreadable("PermissionDenied", f"{where} may not be read by this user")
            case 405:
                return Unreadable("QueueExclusive", f"{where} is exclusive to another connection")
            case code:
                return Unreadable("ReadFailed", f"{where}: {code} {error.reply_text}")

    def _broker_error(self, error: Exception) -> BrokerError:
        address = self._endpoint.address()
        match error:
            case ProbableAuthenticationError() | AuthenticationError() | ConnectionClosedByBroker(reply_code=403):
                return BrokerError(
                    AUTHENTICATION_FAILED,
                    f"RabbitMQ at {address} refused the user or password; correct the URL or its Secret",
                )
            case ProbableAccessDeniedError() | ConnectionClosedByBroker(reply_code=530):
                return self._refused(str(error))
            case TimeoutError():
                return BrokerError(
                    "Timeout", f"RabbitMQ at {address} did not answer within {self._timeout:g} s; {MEND}"
                )
            case AMQPConnectionError() | OSError():
                return BrokerError("Unreachable", f"RabbitMQ at {address} cannot be reached{_cause(error)}; {MEND}")
            case AMQPError():
                return BrokerError("BrokerFailure", f"RabbitMQ at {address} broke off the connection")
            case _:
                message = f"what answers at {address} does not speak as RabbitMQ does; check host and port"
                return BrokerError("BrokerFailure", message)

    def _refused(self, text: str) -> BrokerError:
        """Why we were let in by password and not into the virtual host. The server tells it in words only."""
        address, vhost = self._endpoint.address(), self._endpoint.vhost
        if "not found" in text:
            return BrokerError("VhostMissing", f"RabbitMQ at {address} has no vhost {vhost}; create it, or correct it")
        if "limit" in text:
            return BrokerError("ConnectionLimit", f"RabbitMQ at {address} is at its limit of connections; raise it")
        return BrokerError(
            "PermissionDenied", f"RabbitMQ at {address} keeps this user out of vhost {vhost}; give it permissions there"
        )


def _cause(error: BaseException) -> str:
    """Why a connection failed, which pika wraps several times over; empty where it does not tell."""
    inner: object = error
    while isinstance(inner, Exception) and not isinstance(inner, OSError):
        if isinstance(inner, AMQPConnectionWorkflowFailed):
            inner = inner.exceptions[-1]
        elif isinstance(inner, AMQPConnectorPhaseErrorBase):
            inner = inner.exception
        else:
            inner = next(iter(inner.args), None)
    return f": {system_words(inner)}" if isinstance(inner, OSError) else ""


def _with_in_flight(ready: Depth | Unreadable, unacknowledged: int | None) -> Depth | Unreadable:
    if isinstance(ready, Unreadable) or ready.waiting is None:
        return ready
    if unacknowledged is None:
        return Unreadable("InFlightUnknown", "the management API does not list the queue yet", at_least=ready)
    return Depth(ready.waiting, unacknowledged)


def _without_in_flight(ready: Depth | Unreadable, error: Unreadable) -> Depth | Unreadable:
    if isinstance(ready, Unreadable):
        return ready
    return Unreadable(error.reason, error.message, at_least=ready)
