"""Status is written soon where it matters, seldom where it does not, within a budget, and never lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.operator.engine.virtual_time import clock, in_virtual_time
from workerpool_operator.engine.status_writer import StatusWriter
from workerpool_operator.engine.store import ObjectKey


def key(name: object) -> ObjectKey:
    return ("WorkerPool", ("default", str(name)))


@dataclass
class Writes:
    """What was written when; a write takes `seconds`."""

    seconds: float = 0.0
    begun: list[tuple[float, str]] = field(default_factory=list)
    ended: list[tuple[float, str]] = field(default_factory=list)
    under_way: list[str] = field(default_factory=list)
    together: int = 0

    async def write(self, key: ObjectKey) -> None:
        name = key[1][1]
        assert name not in self.under_way, "two writes at once for one object may arrive in the wrong order"
        self.under_way.append(name)
        self.together = max(self.together, len(self.under_way))
        self.begun.append((clock(), name))
        await asyncio.sleep(self.seconds)
        self.ended.append((clock(), name))
        self.under_way.remove(name)

    def of(self, name: object) -> list[float]:
        """When this one was written."""
        return [round(at, 3) for at, written in self.begun if written == str(name)]


@contextlib.asynccontextmanager
async def writing(
    write: Callable[[ObjectKey], Awaitable[None]], per_second: float = 1000.0
) -> AsyncIterator[StatusWriter]:
    writer = StatusWriter(write, clock, writes_per_second=per_second)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("gap", [0.0, 1.0, 10.0])
@in_virtual_time
async def test_the_first_status_is_written_at_once(gap: float) -> None:
    writes = Writes()
    async with writing(writes.write) as writer:
        await asyncio.sleep(5)
        writer.mark(key("a"), gap)
        await asyncio.sleep(0.1)
    assert [round(at) for at in writes.of("a")] == [5]


@in_virtual_time
async def test_mere_numbers_wait_for_their_gap_since_the_last_write() -> None:
    writes = Writes()
    async with writing(writes.write) as writer:
        writer.mark(key("a"), 0)
        await asyncio.sleep(4)
        for _ in range(3):
            writer.mark(key("a"), 10)
            await asyncio.sleep(1)
        await asyncio.sleep(60)
    assert [round(at) for at in writes.of("a")] == [0, 10]


@in_virtual_time
async def test_a_decision_does_not_wait_behind_mere_numbers() -> None:
    writes = Writes()
    async with writing(writes.write) as writer:
        writer.mark(key("a"), 0)
        await asyncio.sleep(2)
        writer.mark(key("a"), 10)
        await asyncio.sleep(1)
        writer.mark(key("a"), 0)
        await asyncio.sleep(60)
    assert [round(at) for at in writes.of("a")] == [0, 3]


@in_virtual_time
async def test_of_two_gaps_the_shorter_counts() -> None:
    writes = Writes()
    async with writing(writes.write) as writer:
        writer.mark(key("a"), 0)
        await asyncio.sleep(0.5)
        for gap in (10, 1, 10):
            writer.mark(key("a"), gap)
        await asyncio.sleep(60)
    assert [round(at) for at in writes.of("a")] == [0, 1]


@in_virtual_time
async def test_decisions_go_before_numbers_when_the_budget_is_spent() -> None:
    writes = Writes()
    async with writing(writes.write, per_second=10) as writer:
        for number in range(50):
            writer.mark(key(number), 10)
        await asyncio.sleep(1)
        writer.mark(key("urgent"), 0)
        await asyncio.sleep(0.25)
    assert len(writes.of("urgent")) == 1


@in_virtual_time
async def test_what_changes_during_a_write_is_written_after_it() -> None:
    writes = Writes(seconds=3)
    async with writing(writes.write) as writer:
        writer.mark(key("a"), 0)
        await asyncio.sleep(1)
        writer.mark(key("a"), 0)
        await asyncio.sleep(60)
    assert [round(at) for at in writes.of("a")] == [0, 3]


@in_virtual_time
async def test_what_changes_a_little_during_a_write_waits_for_its_gap() -> None:
    writes = Writes(seconds=3)
    async with writing(writes.write) as writer:
        writer.mark(key("a"), 0)
        await asyncio.sleep(1)
        writer.mark(key("a"), 10)
        await asyncio.sleep(60)
    assert [round(at) for at in writes.of("a")] == [0, 10]


@in_virtual_time
async def test_one_write_that_hangs_does_not_hold_up_the_others() -> None:
    writes = Writes()

    async def write(one: ObjectKey) -> None:
        await asyncio.sleep(100 if one == key("slow") else 0)
        await writes.write(one)

    async with writing(write) as writer:
        writer.mark(key("slow"), 0)
        for number in range(20):
            writer.mark(key(number), 0)
        await asyncio.sleep(1)
    assert len(writes.begun) == 20


@in_virtual_time
async def test_an_object_that_is_gone_is_not_written() -> None:
    writes = Writes()
    async with writing(writes.write) as writer:
        writer.mark(key("a"), 0)
        await asyncio.sleep(1)
        writer.mark(key("a"), 10)
        writer.forget(key("a"))
        writer.mark(key("b"), 0)
        writer.forget(key("b"))
        await asyncio.sleep(60)
    assert [round(at) for at in writes.of("a")] == [0]
    assert writes.of("b") == []


@in_virtual_time
async def test_an_object_of_the_same_name_is_new() -> None:
    writes = Writes()
    async with writing(writes.write) as writer:
        writer.mark(key("a"), 10)
        await asyncio.sleep(1)
        writer.forget(key("a"))
        writer.mark(key("a"), 10)
        await asyncio.sleep(1)
    assert [round(at) for at in writes.of("a")] == [0, 1]


@pytest.mark.parametrize("per_second", [0.5, 5.0, 50.0])
@in_virtual_time
async def test_the_budget_holds_over_every_stretch_of_time(per_second: float) -> None:
    """A burst of what one second allows, and then no more than the rate."""
    writes = Writes()
    async with writing(writes.write, per_second) as writer:
        await asyncio.sleep(30)
        for number in range(200):
            writer.mark(key(number), 0)
        await asyncio.sleep(200 / per_second + 5)
    times = [at for at, _ in writes.begun]
    assert len(times) == 200
    for first in range(len(times)):
        for last in range(first, len(times), 7):
            assert last - first + 1 <= (times[last] - times[first] + 1) * per_second + 1 + 1e-6


@in_virtual_time
async def test_a_slow_server_gets_a_few_writes_at_once() -> None:
    writes = Writes(seconds=5)
    async with writing(writes.write) as writer:
        for number in range(100):
            writer.mark(key(number), 0)
        await asyncio.sleep(1000)
    assert len(writes.ended) == 100
    assert 2 <= writes.together <= 16


@in_virtual_time
async def test_a_write_that_breaks_is_tried_again_and_stops_no_other() -> None:
    writes, broken = Writes(), ["a"]

    async def write(key: ObjectKey) -> None:
        await writes.write(key)
        if key[1][1] in broken:
            broken.remove(key[1][1])
            raise ValueError("a defect")

    async with writing(write) as writer:
        writer.mark(key("a"), 0)
        await asyncio.sleep(0.5)
        writer.mark(key("b"), 0)
        await asyncio.sleep(5)
    assert writes.of("b") == [0.5]
    assert len(writes.of("a")) == 2


steps = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.0, 10.0]), st.sampled_from([0.0, 0.1, 0.7, 3.0])), max_size=40
)


@given(steps, st.sampled_from([0.0, 0.5, 4.0]), st.sampled_from([2.0, 50.0]))
@settings(deadline=None, max_examples=60)
def test_no_mark_is_lost(steps: list[tuple[int, float, float]], seconds: float, per_second: float) -> None:
    """After the last mark of an object a write of it begins, and soon enough."""

    @in_virtual_time
    async def run() -> None:
        writes = Writes(seconds=seconds)
        marked: dict[int, float] = {}
        async with writing(writes.write, per_second) as writer:
            for name, gap, pause in steps:
                writer.mark(key(name), gap)
                marked[name] = clock()
                await asyncio.sleep(pause)
            await asyncio.sleep(100)
        for name, at in marked.items():
            assert writes.of(name)[-1] >= round(at, 3)
            assert writes.of(name)[-1] <= at + 60

    run()
