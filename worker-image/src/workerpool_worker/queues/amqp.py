"""One AMQP connection with one channel, with awaitable calls; pika's asyncio adapter underneath.

In: a URL. Out: calls that return the broker's answer, and publishing that returns when the broker has taken the
message. Any failure closes the whole connection: what it held comes back, and a new one is made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pika
import pika.exceptions
from pika.adapters.asyncio_connection import AsyncioConnection

from workerpool_worker.errors import BrokerError

_ANSWER_SECONDS = 30
_HEARTBEAT_SECONDS = 20
_CLOSE_SECONDS = 5
NOT_FOUND = 404


class ChannelClosedError(BrokerError):
    """The broker closed the channel, with this code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"RabbitMQ: {code} {text}")
        self.code = code


class UnroutableError(BrokerError):
    """The message was published to a queue that is not there."""


class AMQPConnection:
    """An open connection; ``open`` makes one.

    Attributes:
        lost: Done, with the reason, when the connection or its channel is gone.
    """

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - pika has no types
        self._connection = connection
        self._channel: Any = None
        self._publishing = asyncio.Lock()
        self._confirmed: asyncio.Future[bool] | None = None
        self._returned = ""
        self.lost: asyncio.Future[BrokerError] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, url: str, password: str | None) -> AMQPConnection:
        """Connect and log in.

        Raises:
            BrokerError: Not possible now.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Any] = loop.create_future()

        def failed(_connection: object, error: object) -> None:
            if not opened.done():
                opened.set_exception(_connect_error(error))

        connection = AsyncioConnection(
            _parameters(url, password),
            on_open_callback=_setter(opened),
            on_open_error_callback=failed,
            custom_ioloop=loop,
        )
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await opened
        except TimeoutError:
            raise BrokerError(f"RabbitMQ does not answer within {_ANSWER_SECONDS} s") from None
        self = cls(connection)
        connection.add_on_close_callback(lambda _, reason: self._lose(_close_error(reason)))
        await self.new_channel()
        return self

    def acknowledge(self, tag: int) -> bool:
        """Acknowledge a delivery; False when the connection is gone, and the message comes again."""
        if self.lost.done():
            return False
        try:
            self._channel.basic_ack(tag)
        except pika.exceptions.AMQPError:
            return False
        return True

    async def new_channel(self) -> None:
        """Open a channel in confirm mode in place of the present one."""
        ready = asyncio.get_running_loop().create_future()
        self._connection.channel(on_open_callback=_setter(ready))
        self._channel = await self._answer(ready)
        self._channel.add_on_close_callback(self._channel_closed)
        self._channel.add_on_cancel_callback(
            lambda _: self._lose(BrokerError("RabbitMQ: the queue was deleted or its node went away"))
        )
        self._channel.add_on_return_callback(self._on_return)
        await self.call("confirm_delivery", ack_nack_callback=self._on_confirm)

    async def call(self, method: str, **arguments: Any) -> Any:  # noqa: ANN401 - methods differ
        """Call a method of the channel and return the broker's answer.

        Raises:
            BrokerError: No answer, or the channel was closed in answer.
        """
        answered = asyncio.get_running_loop().create_future()
        try:
            getattr(self._channel, method)(callback=_setter(answered), **arguments)
        except pika.exceptions.AMQPError as error:
            raise BrokerError(f"RabbitMQ: {error!r}") from error
        return await self._answer(answered)

    async def queue_exists(self, name: str) -> bool:
        """Whether there is such a queue, whatever its arguments; leaves a usable channel."""
        try:
            await self.call("queue_declare", queue=name, passive=True)
        except ChannelClosedError as error:
            if error.code != NOT_FOUND:
                raise
            self.lost = asyncio.get_running_loop().create_future()
            await self.new_channel()
            return False
        return True

    async def publish(self, queue: str, body: bytes, properties: pika.BasicProperties) -> None:
        """Publish to a queue by the default exchange; returns when the broker has the message in it.

        Raises:
            UnroutableError: There is no such queue.
            BrokerError: It may not have it.
        """
        async with self._publishing:
            self._confirmed, self._returned = asyncio.get_running_loop().create_future(), ""
            try:
                self._channel.basic_publish("", queue, body, properties, mandatory=True)
            except pika.exceptions.AMQPError as error:
                raise BrokerError(f"RabbitMQ: {error!r}") from error
            accepted = await self._answer(self._confirmed)
            if not accepted:
                raise BrokerError(f"RabbitMQ refuses messages for queue {queue!r}: is it full?")
            if self._returned:
                raise UnroutableError(f"RabbitMQ cannot deliver to queue {queue!r}: {self._returned}")

    async def close(self) -> None:
        """Close; the broker requeues what was not acknowledged."""
        if not self._connection.is_closed:
            with contextlib.suppress(pika.exceptions.AMQPError):
                self._connection.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await asyncio.shield(self.lost)
        self._lose(BrokerError("RabbitMQ: the connection was closed"))

    async def _answer(self, answer: asyncio.Future[Any]) -> Any:  # noqa: ANN401 - answers differ
        done, _ = await asyncio.wait({answer, self.lost}, timeout=_ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if answer in done:
            return answer.result()
        if self.lost in done:
            raise self.lost.result()
        # The answer may still come and be taken for that of the next call: this connection is of no use.
        error = BrokerError(f"RabbitMQ does not answer within {_ANSWER_SECONDS} s")
        self._lose(error)
        raise error

    def _channel_closed(self, channel: object, reason: object) -> None:
        if channel is self._channel:
            self._lose(_close_error(reason))

    def _lose(self, error: BrokerError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)

    def _on_confirm(self, frame: Any) -> None:  # noqa: ANN401 - pika has no types
        if self._confirmed is not None and not self._confirmed.done():
            self._confirmed.set_result(isinstance(frame.method, pika.spec.Basic.Ack))

    def _on_return(self, _channel: object, method: Any, _properties: object, _body: bytes) -> None:  # noqa: ANN401
        self._returned = f"{method.reply_code} {method.reply_text}"


def _setter(future: asyncio.Future[Any]) -> Callable[[Any], None]:
    """A callback that gives the future its result, unless nobody waits any more."""

    def set_result(answer: object) -> None:
        if not future.done():
            future.set_result(answer)

    return set_result


def _parameters(url: str, password: str | None) -> Any:  # noqa: ANN401 - pika has no types
    parameters = pika.URLParameters(url)
    if "heartbeat=" not in url:
        parameters.heartbeat = _HEARTBEAT_SECONDS
    parameters.socket_timeout = 10
    parameters.stack_timeout = 15
    if password is not None:
        parameters.credentials = pika.PlainCredentials(parameters.credentials.username, password)
    parameters.client_properties = {"connection_name": "workerpool-worker"}
    return parameters


def _close_error(reason: Any) -> BrokerError:  # noqa: ANN401 - pika has no types
    if isinstance(reason, pika.exceptions.ChannelClosedByBroker | pika.exceptions.ConnectionClosedByBroker):
        return ChannelClosedError(reason.reply_code, reason.reply_text)
    return BrokerError(f"RabbitMQ: connection lost: {reason!r}")


def _connect_error(error: Any) -> BrokerError:  # noqa: ANN401 - pika has no types
    text = str(error) or repr(error)
    if "ACCESS_REFUSED" in repr(error) or isinstance(error, pika.exceptions.ProbableAuthenticationError):
        return BrokerError(
            f"RabbitMQ refuses the login: {text}: "
            "mend WORKER_BROKER_PASSWORD(_FILE) or the URL, and the vhost's permissions"
        )
    return BrokerError(f"RabbitMQ cannot be reached: {text}")
