"""A sampler reads in time, tells what changed, spares a broker that fails, and survives a reader that errs.

The reader here is a small one in memory, since the sampler is what is tested: real brokers are read in
tests/operator/brokers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.operator.engine.virtual_time import clock, in_virtual_time
from workerpool_operator.api import Depth, Unreadable
from workerpool_operator.brokers import BrokerError, Endpoint, Layout, RedisEndpoint, ServerInfo
from workerpool_operator.brokers.layouts.redis_list import RedisListLayout
from workerpool_operator.engine import sampling
from workerpool_operator.engine.sampling import Callbacks, Health, Sampler, Samplers, Subscriber
from workerpool_operator.metrics import BrokerMetrics

ENDPOINT = RedisEndpoint("redis://eve:hunter2@redis:6379/0")
JOBS, MAIL = RedisListLayout("jobs"), RedisListLayout("mail")
POOL: Subscriber = (("default", "pool"), "q")
SECOND: Subscriber = (("default", "second"), "q")


@dataclass
class Memory:
    """A broker in memory and the one who is told of it."""

    depths: dict[Layout, Depth | Unreadable] = field(default_factory=dict)
    error: Exception | None = None
    seconds: float = 0.0
    reads: list[tuple[float, list[Layout]]] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    under_way: int = 0
    told: list[tuple[float, Subscriber, Depth | Unreadable]] = field(default_factory=list)
    health: list[Health] = field(default_factory=list)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    server: ServerInfo | None = field(default_factory=lambda: ServerInfo("Memory 1"))

    async def read(self, layouts: Sequence[Layout]) -> list[Depth | Unreadable]:
        assert not self.under_way, "one read at a time"
        self.under_way += 1
        self.reads.append((clock(), list(layouts)))
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.under_way -= 1
        if self.error is not None:
            raise self.error
        return [self.depths.get(layout, Depth(0)) for layout in layouts]

    async def close(self) -> None:
        self.closed += 1

    def on_readings(self, changed: list[tuple[Subscriber, Depth | Unreadable]]) -> None:
        self.told += [(clock(), subscriber, result) for subscriber, result in changed]

    def on_health(self, _endpoint: Endpoint, health: Health) -> None:
        self.health.append(health)

    def results(self, subscriber: Subscriber = POOL) -> list[Depth | Unreadable]:
        """What one subscriber was told, in order."""
        return [result for _, told, result in self.told if told == subscriber]

    def gaps(self) -> list[float]:
        """Seconds from each read to the next."""
        return [later - at for (at, _), (later, _) in itertools.pairwise(self.reads)]

    def sampler(self, endpoint: Endpoint = ENDPOINT) -> Sampler:
        return Sampler(
            endpoint,
            Callbacks(self.on_readings, self.on_health),
            BrokerMetrics(self.registry),
            interval=1.0,
            timeout=2.0,
            clock=clock,
        )


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()

    def open_reader(_endpoint: Endpoint, _timeout: float) -> Memory:
        memory.opened += 1
        return memory

    monkeypatch.setattr(sampling, "open_reader", open_reader)
    return memory


@contextlib.asynccontextmanager
async def sampled(broker: Memory) -> AsyncIterator[Sampler]:
    sampler = broker.sampler()
    try:
        yield sampler
    finally:
        sampler.stop()
        await sampler.close()


@in_virtual_time
async def test_new_subscriptions_do_not_starve_the_sweep(broker: Memory) -> None:
    broker.seconds = 0.1
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        for number in range(400):
            sampler.subscribe(RedisListLayout(f"list-{number}"), SECOND)
            await asyncio.sleep(0.05)
    assert sum(JOBS in layouts for _, layouts in broker.reads) > 10


@in_virtual_time
async def test_all_queues_are_read_in_one_batch_each_interval(broker: Memory) -> None:
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        sampler.subscribe(MAIL, SECOND)
        await asyncio.sleep(10.5)
    assert [round(at) for at, _ in broker.reads] == list(range(11))
    assert all(set(layouts) == {JOBS, MAIL} for _, layouts in broker.reads)


@in_virtual_time
async def test_only_what_changed_is_told(broker: Memory) -> None:
    broker.depths[JOBS] = Depth(1)
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(3.5)
        broker.depths[JOBS] = Depth(2)
        await asyncio.sleep(3.5)
        broker.depths[JOBS] = Unreadable("WrongType", "wrong")
        await asyncio.sleep(3.5)
    assert broker.results() == [Depth(1), Depth(2), Unreadable("WrongType", "wrong")]


@in_virtual_time
async def test_a_new_subscription_is_read_at_once(broker: Memory) -> None:
    async with sampled(broker) as sampler:
        await asyncio.sleep(2.3)
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(0.1)
    assert [(round(at, 1), told) for at, told, _ in broker.told] == [(2.3, POOL)]


@in_virtual_time
async def test_a_new_subscriber_of_a_known_queue_is_told_and_the_old_one_not_again(broker: Memory) -> None:
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(2.3)
        sampler.subscribe(JOBS, SECOND)
        await asyncio.sleep(2)
    assert (len(broker.results(POOL)), len(broker.results(SECOND))) == (1, 1)


@in_virtual_time
async def test_who_subscribes_again_is_told_again_though_nothing_changed(broker: Memory) -> None:
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(2.3)
        sampler.unsubscribe(JOBS, POOL)
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(0.1)
    assert broker.results() == [Depth(0), Depth(0)]


@in_virtual_time
async def test_who_subscribes_twice_is_told_twice(broker: Memory) -> None:
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(2.3)
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(0.1)
    assert broker.results() == [Depth(0), Depth(0)]


@in_virtual_time
async def test_who_subscribes_again_during_a_read_is_told(broker: Memory) -> None:
    broker.seconds = 0.5
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(0.2)
        sampler.unsubscribe(JOBS, POOL)
        await asyncio.sleep(0.1)
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(3)
    assert broker.results() == [Depth(0)]


@in_virtual_time
async def test_who_unsubscribes_during_a_read_is_not_told(broker: Memory) -> None:
    broker.seconds = 0.5
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        sampler.subscribe(JOBS, SECOND)
        await asyncio.sleep(0.2)
        sampler.unsubscribe(JOBS, POOL)
        await asyncio.sleep(3)
        assert list(sampler.subscribers()) == [SECOND]
    assert (broker.results(POOL), broker.results(SECOND)) == ([], [Depth(0)])


@in_virtual_time
async def test_a_queue_that_nobody_wants_is_not_read(broker: Memory) -> None:
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        sampler.unsubscribe(JOBS, POOL)
        sampler.unsubscribe(MAIL, POOL)
        await asyncio.sleep(3.5)
    assert [layouts for _, layouts in broker.reads] == [[]] * 4


@in_virtual_time
async def test_a_broker_that_fails_is_told_to_each_subscriber_once(broker: Memory) -> None:
    broker.error = BrokerError("Unreachable", "away")
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        sampler.subscribe(MAIL, SECOND)
        await asyncio.sleep(30)
    away = Unreadable("Unreachable", "away", whole_broker=True)
    assert (broker.results(POOL), broker.results(SECOND)) == ([away], [away])


@in_virtual_time
async def test_a_broker_that_fails_is_tried_again_after_growing_pauses_up_to_two_seconds(broker: Memory) -> None:
    broker.error = BrokerError("Unreachable", "away")
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(60)
    gaps = broker.gaps()
    assert all(0.2 <= gap <= 2.0 + 1e-6 for gap in gaps)
    assert 0.25 - 1e-6 <= gaps[0] <= 0.5 + 1e-6
    assert all(gap >= 1.0 - 1e-6 for gap in gaps[4:])
    assert len(set(gaps[4:])) > 10, "without jitter all samplers come back at once"


@in_virtual_time
async def test_subscriptions_do_not_hurry_a_broker_that_fails(broker: Memory) -> None:
    broker.error = BrokerError("Unreachable", "away")
    async with sampled(broker) as sampler:
        for number in range(200):
            sampler.subscribe(RedisListLayout(f"list-{number}"), POOL)
            await asyncio.sleep(0.05)
    assert len(broker.reads) < 15


@in_virtual_time
async def test_a_broker_that_comes_back_is_read_as_before(broker: Memory) -> None:
    broker.error = BrokerError("Unreachable", "away")
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(20)
        broker.error = None
        await asyncio.sleep(2.5)
        broker.reads.clear()
        await asyncio.sleep(10)
    assert broker.results()[-1] == Depth(0)
    assert [round(gap, 3) for gap in broker.gaps()] == [1.0] * len(broker.gaps())


@in_virtual_time
async def test_a_subscription_made_while_the_broker_fails_is_told_of_the_failure(broker: Memory) -> None:
    broker.error = BrokerError("Unreachable", "away")
    async with sampled(broker) as sampler:
        await asyncio.sleep(5)
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(2.5)
    assert [result for result in broker.results() if isinstance(result, Unreadable)] == broker.results() != []


@in_virtual_time
async def test_a_slow_broker_is_read_one_batch_after_the_other(broker: Memory) -> None:
    broker.seconds = 3.0
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(30)
    assert [round(gap, 3) for gap in broker.gaps()] == [3.0] * len(broker.gaps())


@in_virtual_time
async def test_a_reader_that_errs_is_opened_anew_and_nobody_reads_the_words_of_the_error(
    broker: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    broker.error = ValueError("redis://eve:hunter2@redis")
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(5)
        (wrong,) = broker.results()
        assert isinstance(wrong, Unreadable)
        assert (wrong.reason, wrong.whole_broker) == ("InternalError", True)
        assert broker.opened == broker.closed > 1
        broker.error = None
        await asyncio.sleep(3)
    assert broker.results()[-1] == Depth(0)
    assert "hunter2" not in f"{wrong} {caplog.text}"


@in_virtual_time
async def test_health_is_told_after_every_read(broker: Memory) -> None:
    broker.seconds = 0.25
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(0.9)
        broker.error = BrokerError("Timeout", "slow")
        await asyncio.sleep(0.9)
    good, bad = broker.health[0], broker.health[-1]
    assert (good.error, good.server, round(good.latency, 3), good.queues) == (None, ServerInfo("Memory 1"), 0.25, 1)
    assert bad.error is broker.error


@in_virtual_time
async def test_the_time_of_the_last_read_is_told(broker: Memory) -> None:
    async with sampled(broker) as sampler:
        await asyncio.sleep(5.5)
        assert round(sampler.finished_at, 3) == 5.0


@in_virtual_time
async def test_closing_ends_a_read_that_hangs_and_lets_go_of_the_connection(broker: Memory) -> None:
    broker.seconds = 1e9
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(5)
    assert clock() < 6
    assert (broker.under_way, broker.closed, broker.told) == (0, 1, [])


@in_virtual_time
async def test_reads_are_counted_by_address_and_never_by_url(broker: Memory) -> None:
    async with sampled(broker) as sampler:
        sampler.subscribe(JOBS, POOL)
        await asyncio.sleep(2.5)
        broker.error = BrokerError("Timeout", "slow")
        await asyncio.sleep(1)
    text = generate_latest(broker.registry).decode()
    assert 'workerpool_broker_reads_total{broker="redis:6379/0"}' in text
    assert 'workerpool_broker_read_errors_total{broker="redis:6379/0",reason="Timeout"}' in text
    assert "hunter2" not in text


# -- samplers ------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_endpoint_has_one_sampler_until_its_last_user_is_gone(broker: Memory) -> None:
    metrics = BrokerMetrics(CollectorRegistry())
    samplers = Samplers(broker.sampler, metrics)
    first, again = samplers.hold(ENDPOINT, "one"), samplers.hold(ENDPOINT, "two")
    assert first is again is samplers.get(ENDPOINT)
    await asyncio.sleep(1.5)
    samplers.release(ENDPOINT, "one")
    samplers.release(ENDPOINT, "a stranger")
    assert samplers.get(ENDPOINT) is first
    samplers.release(ENDPOINT, "two")
    assert samplers.get(ENDPOINT) is None
    await asyncio.sleep(0.1)
    reads = len(broker.reads)
    await asyncio.sleep(10)
    assert (len(broker.reads), broker.closed) == (reads, 1)


@in_virtual_time
async def test_an_endpoint_that_is_wanted_again_gets_a_new_sampler(broker: Memory) -> None:
    broker.seconds = 0.5
    broker.registry = CollectorRegistry()
    samplers = Samplers(broker.sampler, BrokerMetrics(CollectorRegistry()))
    first = samplers.hold(ENDPOINT, "one")
    first.subscribe(JOBS, POOL)
    await asyncio.sleep(0.2)
    samplers.release(ENDPOINT, "one")
    await asyncio.sleep(0.1)
    broker.registry = CollectorRegistry()
    second = samplers.hold(ENDPOINT, "one")
    assert second is not first
    second.subscribe(JOBS, POOL)
    await asyncio.sleep(2)
    await samplers.close_all()
    assert broker.results() == [Depth(0)]


@in_virtual_time
async def test_closing_all_closes_each(broker: Memory) -> None:
    samplers = Samplers(broker.sampler, BrokerMetrics(CollectorRegistry()))
    samplers.hold(ENDPOINT, "one")
    assert samplers.oldest_finish(99.0) == 0.0
    await asyncio.sleep(1.5)
    await samplers.close_all()
    assert (samplers.get(ENDPOINT), broker.closed) == (None, 1)
    assert samplers.oldest_finish(99.0) == 99.0
