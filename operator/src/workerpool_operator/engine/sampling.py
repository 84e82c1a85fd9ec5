"""One task for each endpoint: reads all its queues in one batch each interval and tells what changed.

Comes in: which queues are wanted. Goes out: readings that differ from the last ones, in batches. A broker that hangs
holds up its own sampler alone.
"""

import asyncio
import contextlib
import logging
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workerpool_operator.api import Depth, Unreadable
from workerpool_operator.brokers import BrokerError, Endpoint, Layout, Reader, ServerInfo, open_reader
from workerpool_operator.engine.store import Key
from workerpool_operator.metrics import BrokerMetrics

Subscriber = tuple[Key, str]
"""A pool and the name of one of its queues."""
Result = Depth | Unreadable

_log = logging.getLogger(__name__)
_LONGEST_BACKOFF_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """How the last read of a broker went.

    Attributes:
        error: None when it could be read.
        server: what the server said of itself.
        latency: seconds that the read took.
        queues: how many queues are read over it.
    """

    error: BrokerError | None
    server: ServerInfo | None
    latency: float
    queues: int


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Whom a sampler tells.

    Attributes:
        on_readings: changed readings of one batch.
        on_health: the first read, and each later one.
    """

    on_readings: Callable[[list[tuple[Subscriber, Result]]], None]
    on_health: Callable[[Endpoint, Health], None]


class Sampler:
    """Reads the queues of one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        callbacks: Callbacks,
        metrics: BrokerMetrics,
        *,
        interval: float,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self.endpoint = endpoint
        self.finished_at = clock()
        self._timeout = timeout
        self._reader: Reader | None = None
        self._callbacks = callbacks
        self._metrics = metrics
        self._interval = interval
        self._clock = clock
        self._wanted: dict[Layout, dict[Subscriber, Result | None]] = {}
        # Subscribed to since the last read.
        self._unread: dict[Layout, None] = {}
        self._failures = 0
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"sampler {endpoint.address()}")

    def subscribe(self, layout: Layout, subscriber: Subscriber) -> None:
        """Read this queue for the subscriber, as soon as can be."""
        self._wanted.setdefault(layout, {})[subscriber] = None
        self._unread[layout] = None
        self._wake.set()

    def unsubscribe(self, layout: Layout, subscriber: Subscriber) -> None:
        """Read this queue no more for the subscriber."""
        subscribers = self._wanted.get(layout, {})
        subscribers.pop(subscriber, None)
        if not subscribers:
            self._wanted.pop(layout, None)
            self._unread.pop(layout, None)

    def subscribers(self) -> Iterator[Subscriber]:
        """Whom its queues are read for."""
        for subscribers in self._wanted.values():
            yield from subscribers

    def stop(self) -> None:
        """Tell nobody anything any more."""
        self._task.cancel()

    async def close(self) -> None:
        """Let go of the connection, once stopped."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._close_reader()

    async def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def _run(self) -> None:
        due = self._clock()
        while True:
            began = min(due, self._clock())
            self._metrics.lag(self._clock() - began)
            await self._sample(list(self._wanted))
            healthy_due = max(began + self._interval, self._clock())
            due = self._clock() + self._backoff() if self._failures else healthy_due
            await self._wait_until(due)

    async def _wait_until(self, due: float) -> None:
        """Sleep, but read at once what was subscribed to meanwhile, unless the broker is failing."""
        # Past `due` it is the turn of all queues, however many more are subscribed to.
        while not self._failures and self._clock() < due and await self._subscribed_before(due):
            await self._sample(list(self._unread))
        await asyncio.sleep(max(0.0, due - self._clock()))

    async def _subscribed_before(self, due: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, due - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def _backoff(self) -> float:
        longest = min(_LONGEST_BACKOFF_SECONDS, 0.25 * 2.0 ** min(self._failures, 8))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret

    async def _sample(self, layouts: list[Layout]) -> None:
        self._wake.clear()
        self._unread.clear()
        started = self._clock()
        error: BrokerError | None = None
        results: list[Result] = []
        try:
            if self._reader is None:
                self._reader = open_reader(self.endpoint, self._timeout)
            results = await self._reader.read(layouts)
            self._failures = 0
        except BrokerError as failure:
            error = failure
        except Exception as defect:  # noqa: BLE001 - what one reader does wrong must not end the reading for ever
            error = self._defective(defect)
            # Half an answer may be on its way.
            await self._close_reader()
        if error is not None:
            self._failures += 1
            results = [error.as_reading()] * len(layouts)
        latency = self._clock() - started
        self._metrics.read(self.endpoint.address(), latency, error.reason if error else None)
        if error is not None and self._failures == 1:
            _log.warning("%s", error)
        self._deliver(layouts, results)
        server = self._reader.server if self._reader is not None else None
        self._callbacks.on_health(self.endpoint, Health(error, server, latency, len(self._wanted)))
        self.finished_at = self._clock()

    def _defective(self, defect: Exception) -> BrokerError:
        """Tell of a defect by where it was met: the words of the error may hold a URL with its password."""
        if not self._failures:
            where = "".join(traceback.format_tb(defect.__traceback__))
            _log.error("%s while reading %s\n%s", type(defect).__name__, self.endpoint.address(), where)
        return BrokerError(
            "InternalError",
            f"{self.endpoint.address()} could not be read: {type(defect).__name__}; the operator's log says where",
        )

    def _deliver(self, layouts: list[Layout], results: list[Result]) -> None:
        changed: list[tuple[Subscriber, Result]] = []
        for layout, result in zip(layouts, results, strict=True):
            # Gone meanwhile, or subscribed to again: those are read next time.
            subscribers = self._wanted.get(layout, {})
            for subscriber, last in subscribers.items():
                if last != result:
                    subscribers[subscriber] = result
                    changed.append((subscriber, result))
        if changed:
            self._callbacks.on_readings(changed)


class Samplers:
    """All samplers by endpoint, each alive as long as somebody needs it."""

    def __init__(self, open_sampler: Callable[[Endpoint], Sampler], metrics: BrokerMetrics) -> None:
        self._open = open_sampler
        self._metrics = metrics
        self._samplers: dict[Endpoint, Sampler] = {}
        self._users: dict[Endpoint, set[object]] = {}
        self._addresses: Counter[str] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    def hold(self, endpoint: Endpoint, user: object) -> Sampler:
        """The sampler of an endpoint, kept open for this user."""
        if endpoint not in self._samplers:
            self._samplers[endpoint] = self._open(endpoint)
            self._users[endpoint] = set()
            self._addresses[endpoint.address()] += 1
        self._users[endpoint].add(user)
        return self._samplers[endpoint]

    def release(self, endpoint: Endpoint, user: object) -> None:
        """This user needs it no more; the last one closes it."""
        users = self._users.get(endpoint)
        if users is None:
            return
        users.discard(user)
        if not users:
            del self._users[endpoint]
            self._close(self._samplers.pop(endpoint))

    def get(self, endpoint: Endpoint) -> Sampler | None:
        """The sampler of an endpoint, if there is one."""
        return self._samplers.get(endpoint)

    def oldest_finish(self, now: float) -> float:
        """When the sampler that finished longest ago did so (seconds); now if there is none."""
        return min((sampler.finished_at for sampler in self._samplers.values()), default=now)

    async def close_all(self) -> None:
        """Close every sampler."""
        for sampler in self._samplers.values():
            self._close(sampler)
        self._samplers.clear()
        self._users.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _close(self, sampler: Sampler) -> None:
        sampler.stop()
        address = sampler.endpoint.address()
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
            self._metrics.forget(address)
        task = asyncio.create_task(sampler.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
