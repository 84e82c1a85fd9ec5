"""One task for each endpoint: reads all its queues in one batch each interval and tells what changed.

Comes in: which queues are wanted. Goes out: readings that differ from the last ones, in batches. A broker that hangs
holds up its own sampler alone.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
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
    """

    error: BrokerError | None
    server: ServerInfo | None
    latency: float


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
        self._reader: Reader = open_reader(endpoint, timeout)
        self._callbacks = callbacks
        self._metrics = metrics
        self._interval = interval
        self._clock = clock
        self._wanted: dict[Layout, dict[Subscriber, Result | None]] = {}
        self._failures = 0
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"sampler {endpoint.address()}")

    def subscribe(self, layout: Layout, subscriber: Subscriber) -> None:
        """Read this queue for the subscriber, as soon as can be."""
        self._wanted.setdefault(layout, {})[subscriber] = None
        self._wake.set()

    def unsubscribe(self, layout: Layout, subscriber: Subscriber) -> None:
        """Read this queue no more for the subscriber."""
        subscribers = self._wanted.get(layout, {})
        subscribers.pop(subscriber, None)
        if not subscribers:
            self._wanted.pop(layout, None)

    @property
    def queues(self) -> int:
        """How many queues are read."""
        return len(self._wanted)

    async def close(self) -> None:
        """Stop reading and let go of the connection."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._reader.close()

    async def _run(self) -> None:
        due = self._clock()
        while True:
            began = min(due, self._clock())
            await self._sample(lag=self._clock() - began)
            self.finished_at = self._clock()
            if self._failures:
                due = self.finished_at + self._backoff()
            else:
                due = max(began + self._interval, self.finished_at)
            await self._wait_until(due)

    async def _wait_until(self, due: float) -> None:
        """Sleep, but read at once what was subscribed to meanwhile, unless the broker is failing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - self._clock())):
                if self._failures:
                    await asyncio.Event().wait()
                await self._wake.wait()

    def _backoff(self) -> float:
        longest = min(_LONGEST_BACKOFF_SECONDS, 0.25 * 2.0 ** min(self._failures, 8))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret

    async def _sample(self, lag: float) -> None:
        self._wake.clear()
        layouts = list(self._wanted)
        started = self._clock()
        error: BrokerError | None = None
        try:
            results: list[Result] = await self._reader.read(layouts)
            self._failures = 0
        except BrokerError as failure:
            error = failure
            self._failures += 1
            results = [failure.as_reading()] * len(layouts)
        latency = self._clock() - started
        self._metrics.read(self.endpoint.address(), latency, lag, error.reason if error else None)
        if error is not None and self._failures == 1:
            _log.warning("%s", error)
        self._deliver(layouts, results)
        self._callbacks.on_health(self.endpoint, Health(error, self._reader.server, latency))

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
        self._closing: set[asyncio.Task[None]] = set()

    def hold(self, endpoint: Endpoint, user: object) -> Sampler:
        """The sampler of an endpoint, kept open for this user."""
        if endpoint not in self._samplers:
            self._samplers[endpoint] = self._open(endpoint)
            self._users[endpoint] = set()
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
        await asyncio.gather(*self._closing)

    def _close(self, sampler: Sampler) -> None:
        address = sampler.endpoint.address()
        if all(other.address() != address for other in self._samplers if other != sampler.endpoint):
            self._metrics.forget(address)
        task = asyncio.create_task(sampler.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
