"""Writes status within a budget: changes of decision or condition first, mere depths now and then.

Comes in: keys whose status may differ, urgent or not. Goes out: calls of `write`, at most so many a second in all,
and for one key not oftener than the interval unless it is urgent.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from workerpool_operator.api.meta import Kind
from workerpool_operator.engine.store import Key

ObjectKey = tuple[Kind, Key]

# A slow API server is answered by a few calls at a time, not by one after the other.
_WRITERS = 8


class StatusWriter:
    """A queue of keys whose status is to be written. `run` must run for anything to be written."""

    def __init__(
        self,
        write: Callable[[ObjectKey], Awaitable[None]],
        clock: Callable[[], float],
        *,
        interval: float,
        writes_per_second: float,
    ) -> None:
        self._write = write
        self._clock = clock
        self._interval = interval
        self._gap = 1.0 / writes_per_second
        self._next_slot = 0.0
        self._queue: asyncio.Queue[ObjectKey] = asyncio.Queue()
        self._queued: set[ObjectKey] = set()
        self._written_at: dict[ObjectKey, float] = {}
        self._later: dict[ObjectKey, asyncio.TimerHandle] = {}

    def mark(self, key: ObjectKey, *, urgent: bool) -> None:
        """The status under this key differs from what was written."""
        if key in self._queued:
            return
        wait = self._written_at.get(key, float("-inf")) + self._interval - self._clock()
        if urgent or wait <= 0:
            self._enqueue(key)
        elif key not in self._later:
            self._later[key] = asyncio.get_running_loop().call_later(wait, self._enqueue, key)

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._written_at.pop(key, None)
        if (timer := self._later.pop(key, None)) is not None:
            timer.cancel()

    async def run(self) -> None:
        """Write what is queued, for ever."""
        async with asyncio.TaskGroup() as writers:
            for _ in range(_WRITERS):
                writers.create_task(self._run_writer())

    def _enqueue(self, key: ObjectKey) -> None:
        if (timer := self._later.pop(key, None)) is not None:
            timer.cancel()
        if key not in self._queued:
            self._queued.add(key)
            self._queue.put_nowait(key)

    async def _run_writer(self) -> None:
        while True:
            key = await self._queue.get()
            await self._slot()
            # Before the write: what changes during it is written again.
            self._queued.discard(key)
            self._written_at[key] = self._clock()
            with contextlib.suppress(TimeoutError):
                await self._write(key)

    async def _slot(self) -> None:
        """Wait for a place in the budget, which lets bursts of up to one second through."""
        now = self._clock()
        self._next_slot = max(self._next_slot, now - 1.0) + self._gap
        if self._next_slot > now:
            await asyncio.sleep(self._next_slot - now)
