"""A RabbitMQ queue: acknowledged after the work, prefetch as many as run at a time.

In: a queue Q. Out: claims. A retry waits in ``Q.retry.<ms>`` until its TTL moves it back to Q; a dead letter is
the message as it was, in ``Q.dead``, with the reason in its headers. Either is confirmed by the broker before
the original is acknowledged. A message that comes again because its worker died counts an attempt: by the
broker in quorum queues, by a copy with a header in classic ones, so that none kills workers for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pika

from workerpool_worker.errors import BrokerError, ConfigError
from workerpool_worker.queues.amqp import AMQPConnection, UnroutableError
from workerpool_worker.queues.base import Claim, iso_time, lost_worker_reason, named_id

log = logging.getLogger(__name__)

ATTEMPTS = "x-workerpool-attempts"
JOB_ID = "x-workerpool-id"
FIRST_AT = "x-workerpool-first-at-ms"
_DELIVERY_COUNT = "x-delivery-count"
# Set by brokers about the past of one message; a copy begins anew. RabbitMQ would see a loop in x-death.
_NOT_COPIED = (_DELIVERY_COUNT, "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason")
_RETRY_QUEUE_SPARE_MS = 60_000
_DEADLINE_SPARE_SECONDS = 300
_SETTLE_SECONDS = 10
_MOVE_AGAIN_SECONDS = 5
_REMEMBERED = 1000


@dataclass(slots=True)
class _Delivery:
    """A message in hand.

    Attributes:
        connection: The connection it came on; its tag means nothing on another.
        tag: Its delivery tag.
        identity: Tells its redelivery from other messages; None where the producer gave it no id.
        claim: What the runner has of it.
        properties: As delivered, headers included.
    """

    connection: AMQPConnection
    tag: int
    identity: tuple[str, bytes] | None
    claim: Claim
    properties: Any


class RabbitMQQueue:
    """The queue of this name; see Queue for the methods.

    Args:
        url: Of the broker, with the vhost, perhaps with a password.
        password: Gives the password of now; None: the URL's.
        queue: The queue's name.
        worker_id: Stands in dead letters.
        prefetch: Messages in hand at most.
        max_attempts: A message whose worker dies in so many attempts is buried.
        declare: Create the queue when it is missing.
        job_seconds: How long an attempt may take; the broker is asked to wait as long for the acknowledgement.
    """

    def __init__(
        self,
        *,
        url: str,
        password: Callable[[], str | None],
        queue: str,
        worker_id: str,
        prefetch: int,
        max_attempts: int,
        declare: bool,
        job_seconds: float,
    ) -> None:
        self._url, self._password = url, password
        self._queue, self._dead, self._worker_id = queue, f"{queue}.dead", worker_id
        self._prefetch, self._max_attempts, self._declare = prefetch, max_attempts, declare
        self._ack_within_ms = int((job_seconds + _DEADLINE_SPARE_SECONDS) * 1000)
        self._connection: AMQPConnection | None = None
        self._consumer_tag = ""
        self._in_hand: dict[str, _Delivery] = {}
        self._arrived: deque[Claim] = deque()
        self._something = asyncio.Event()
        self._done_unacknowledged: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """See Queue."""
        return self._connection is not None and not self._connection.lost.done()

    async def claim(self, limit: int) -> list[Claim]:
        """See Queue."""
        await self._consume()
        if self._tasks:
            # A copy may arrive before its original is acknowledged: a job begun now that kills this worker
            # would leave both.
            await asyncio.wait(self._tasks, timeout=_SETTLE_SECONDS)
        self._something.clear()
        taken = [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]
        if self._arrived:
            self._something.set()
        return taken

    async def wait(self) -> None:
        """See Queue."""
        connection = await self._consume()
        arrived = asyncio.create_task(self._something.wait())
        either: set[asyncio.Future[Any]] = {arrived, connection.lost}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrived.cancel()
        if connection.lost.done():
            raise connection.lost.result()

    async def finish(self, claim: Claim) -> None:
        """See Queue."""
        delivery = self._in_hand.pop(claim.id)
        if not delivery.connection.acknowledge(delivery.tag) and delivery.identity is not None:
            # The broker delivers it again, perhaps to us: then it is acknowledged unseen.
            self._done_unacknowledged[delivery.identity] = None
            while len(self._done_unacknowledged) > _REMEMBERED:
                self._done_unacknowledged.popitem(last=False)

    async def retry(self, claim: Claim, delay_ms: int) -> None:
        """See Queue."""
        delivery = self._in_hand[claim.id]
        if self._is_current(delivery):
            waiting = f"{self._queue}.retry.{delay_ms}"
            # Declared each time: that also puts off its expiry until the message has left it.
            await delivery.connection.call(
                "queue_declare",
                queue=waiting,
                durable=True,
                arguments={
                    "x-message-ttl": delay_ms,
                    "x-expires": delay_ms + _RETRY_QUEUE_SPARE_MS,
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": self._queue,
                },
            )
            await self._move(delivery, waiting, attempts=claim.attempts + 1)
        self._in_hand.pop(claim.id, None)

    async def bury(self, claim: Claim, reason: str) -> None:
        """See Queue."""
        delivery = self._in_hand[claim.id]
        if self._is_current(delivery):
            await self._bury(delivery, reason, attempts=claim.attempts + 1)
        self._in_hand.pop(claim.id, None)

    async def release(self, claim: Claim) -> None:
        """See Queue: as a copy, because one that is requeued would count as lost by a dead worker."""
        delivery = self._in_hand[claim.id]
        if self._is_current(delivery):
            await self._move(delivery, self._queue, attempts=claim.attempts)
        self._in_hand.pop(claim.id, None)

    async def maintain(self) -> None:
        """See Queue: the broker itself brings jobs back."""
        await asyncio.Event().wait()

    async def stop_claiming(self) -> None:
        """See Queue."""
        if self.connected and self._connection is not None:
            await self._connection.call("basic_cancel", consumer_tag=self._consumer_tag)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SETTLE_SECONDS)
        while self._arrived:
            await self.release(self._arrived.popleft())

    async def size(self) -> int | None:
        """See Queue."""
        return None

    async def push(self, jobs: Sequence[tuple[str, bytes]]) -> None:
        """See Queue."""
        connection = await self._connect()
        for job_id, payload in jobs:
            properties = pika.BasicProperties(
                delivery_mode=2, content_type="application/json", message_id=job_id, timestamp=int(time.time())
            )
            await connection.publish(self._queue, payload, properties)

    async def close(self) -> None:
        """See Queue."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _connect(self) -> AMQPConnection:
        """The open connection, with the queue there."""
        if self.connected and self._connection is not None:
            return self._connection
        await self.close()
        try:
            connection = await AMQPConnection.open(self._url, self._password())
        except (ConfigError, ValueError) as error:
            raise BrokerError(f"RabbitMQ: {error}") from error
        self._connection = connection
        try:
            await self._ensure(connection, self._queue, create=self._declare)
        except BaseException:
            await self.close()
            raise
        return connection

    async def _consume(self) -> AMQPConnection:
        """The open connection, with a consumer on it."""
        if self.connected and self._connection is not None:
            return self._connection
        # Those of the lost connection that nobody has begun come again by the broker.
        for claim in self._arrived:
            self._in_hand.pop(claim.id, None)
        self._arrived.clear()
        connection = await self._connect()
        await connection.call("basic_qos", prefetch_count=self._prefetch)
        self._consumer_tag = f"{self._worker_id}-{uuid.uuid4().hex[:12]}"
        await connection.call(
            "basic_consume",
            queue=self._queue,
            consumer_tag=self._consumer_tag,
            arguments={"x-consumer-timeout": self._ack_within_ms},
            on_message_callback=lambda _, method, properties, body: self._on_message(
                connection, method, properties, body
            ),
        )
        return connection

    async def _ensure(self, connection: AMQPConnection, queue: str, *, create: bool) -> None:
        """Have the queue: an existing one is taken with whatever arguments it has."""
        if await connection.queue_exists(queue):
            return
        if not create:
            raise BrokerError(f"RabbitMQ has no queue {queue!r}: create it, or set WORKER_QUEUE_DECLARE=true")
        await connection.call("queue_declare", queue=queue, durable=True)

    def _on_message(self, connection: AMQPConnection, method: Any, properties: Any, body: bytes) -> None:  # noqa: ANN401
        headers = properties.headers or {}
        given_id = headers.get(JOB_ID) or properties.message_id or named_id(body)
        identity = (str(given_id), hashlib.sha256(body).digest()) if given_id else None
        if identity is not None and self._adopted(identity, connection, method.delivery_tag):
            return
        counted_by_broker = _count(headers, _DELIVERY_COUNT)
        claim = Claim(
            id=uuid.uuid4().hex,
            job_id=str(given_id or uuid.uuid4().hex),
            payload=body,
            attempts=_count(headers, ATTEMPTS) + counted_by_broker,
            first_at_ms=_count(headers, FIRST_AT) or int(time.time() * 1000),
        )
        delivery = _Delivery(connection, method.delivery_tag, identity, claim, properties)
        lost_before = counted_by_broker > 0
        if method.redelivered and not lost_before:
            self._start(delivery, lambda: self._count_lost_attempt(delivery))
        elif lost_before and claim.attempts >= self._max_attempts:
            reason = lost_worker_reason(claim.attempts)
            self._start(delivery, lambda: self._bury(delivery, reason, attempts=claim.attempts))
        else:
            self._in_hand[claim.id] = delivery
            self._arrived.append(claim)
            self._something.set()

    def _adopted(self, identity: tuple[str, bytes], connection: AMQPConnection, tag: int) -> bool:
        """Whether the message is one that this worker has done, or still does, since before a reconnect."""
        if identity in self._done_unacknowledged:
            del self._done_unacknowledged[identity]
            connection.acknowledge(tag)
            return True
        for delivery in self._in_hand.values():
            if delivery.identity == identity and not self._is_current(delivery):
                delivery.connection, delivery.tag = connection, tag
                return True
        return False

    async def _count_lost_attempt(self, delivery: _Delivery) -> None:
        """A classic queue's redelivery: put a copy that counts in its place, or bury it after too many."""
        attempts = delivery.claim.attempts + 1
        if attempts >= self._max_attempts:
            await self._bury(delivery, lost_worker_reason(attempts), attempts=attempts)
        else:
            await self._move(delivery, self._queue, attempts=attempts)
        log.warning(
            "a worker lost this job or its connection",
            extra={"queue": self._queue, "job_id": delivery.claim.job_id, "attempt": attempts},
        )

    async def _bury(self, delivery: _Delivery, reason: str, *, attempts: int) -> None:
        letter = {
            "x-workerpool-reason": reason,
            "x-workerpool-queue": self._queue,
            "x-workerpool-worker-id": self._worker_id,
            "x-workerpool-first-attempt-at": iso_time(delivery.claim.first_at_ms),
            "x-workerpool-last-attempt-at": iso_time(int(time.time() * 1000)),
        }
        try:
            await self._move(delivery, self._dead, attempts=attempts, more_headers=letter)
        except UnroutableError:
            # Declared only when it is missing: an existing one may have arguments that we do not know.
            await delivery.connection.call("queue_declare", queue=self._dead, durable=True)
            await self._move(delivery, self._dead, attempts=attempts, more_headers=letter)

    async def _move(
        self, delivery: _Delivery, queue: str, *, attempts: int, more_headers: Mapping[str, object] | None = None
    ) -> None:
        """Publish a copy to ``queue``, then acknowledge the original: at worst there are both, never none."""
        claim, old = delivery.claim, delivery.properties
        kept = {name: value for name, value in (old.headers or {}).items() if name not in _NOT_COPIED}
        properties = pika.BasicProperties(
            content_type=old.content_type,
            content_encoding=old.content_encoding,
            priority=old.priority,
            correlation_id=old.correlation_id,
            reply_to=old.reply_to,
            message_id=old.message_id,
            timestamp=old.timestamp,
            type=old.type,
            app_id=old.app_id,
            delivery_mode=2,
            headers={
                **kept,
                ATTEMPTS: attempts,
                JOB_ID: claim.job_id,
                FIRST_AT: claim.first_at_ms,
                **(more_headers or {}),
            },
        )
        await delivery.connection.publish(queue, claim.payload, properties)
        delivery.connection.acknowledge(delivery.tag)

    def _is_current(self, delivery: _Delivery) -> bool:
        return self.connected and delivery.connection is self._connection

    def _start(self, delivery: _Delivery, move: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Move a message that the runner never sees, again and again while its delivery stands."""

        async def moved() -> None:
            while True:
                try:
                    return await move()
                except BrokerError as error:
                    log.warning("%s", error, extra={"queue": self._queue})
                    if not self._is_current(delivery):
                        return None
                    await asyncio.sleep(_MOVE_AGAIN_SECONDS)

        task = asyncio.create_task(moved())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _count(headers: dict[str, object], name: str) -> int:
    value = headers.get(name)
    return value if isinstance(value, int) and value > 0 else 0
