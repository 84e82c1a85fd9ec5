"""Writes status within a budget: changes of decision or condition first, mere depths now and then.

Comes in: keys whose status differs, with the least time between two writes that the difference is worth. Goes out:
calls of `write`, at most so many a second in all.
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
        writes_per_second: float,
    ) -> None:
        self._write = write
        self._clock = clock
        self._gap = 1.0 / writes_per_second
        self._next_slot = 0.0
        self._queue: asyncio.Queue[ObjectKey] = asyncio.Queue()
        self._queued: set[ObjectKey] = set()
        self._written_at: dict[ObjectKey, float] = {}
        self._later: dict[ObjectKey, asyncio.TimerHandle] = {}

    def mark(self, key: ObjectKey, gap: float) -> None:
        """The status under this key differs from what was written: write it `gap` seconds after the last time."""
        if key in self._queued:
            return
        loop = asyncio.get_running_loop()
        wait = self._written_at.get(key, float("-inf")) + gap - self._clock()
        if wait <= 0:
            self._enqueue(key)
        elif key not in self._later or self._later[key].when() > loop.time() + wait:
            self._cancel(key)
            self._later[key] = loop.call_later(wait, self._enqueue, key)

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._written_at.pop(key, None)
        self._cancel(key)

    async def run(self) -> None:
        """Write what is queued, for ever."""
        async with asyncio.TaskGroup() as writers:
            for _ in range(_WRITERS):
                writers.create_task(self._run_writer())

    def _cancel(self, key: ObjectKey) -> None:
        if (timer := self._later.pop(key, None)) is not None:
            timer.cancel()

    def _enqueue(self, key: ObjectKey) -> None:
        self._cancel(key)
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
