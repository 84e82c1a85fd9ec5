"""The clock of these tests jumps, and keeps the order of what happens."""

import asyncio
import time

import pytest

from tests.operator.engine.virtual_time import clock, in_virtual_time


def test_an_hour_takes_no_time_and_things_happen_in_order() -> None:
    happened: list[tuple[str, float]] = []

    @in_virtual_time
    async def hour() -> None:
        async def after(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            happened.append((name, clock()))

        await asyncio.gather(after(3600, "last"), after(1, "first"), after(60, "second"))

    started = time.monotonic()
    hour()
    assert time.monotonic() - started < 5
    assert [(name, round(at)) for name, at in happened] == [("first", 1), ("second", 60), ("last", 3600)]


def test_waiting_for_what_nobody_does_fails() -> None:
    @in_virtual_time
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        wait()
