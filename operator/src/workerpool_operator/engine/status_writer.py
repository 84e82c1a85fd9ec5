"""Writes status within a budget: changes of decision or condition first, mere depths now and then.

Comes in: keys whose status differs, with the least time between two writes that the difference is worth. Goes out:
calls of `write`, at most so many a second in all, and never two at once for the same key.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from workerpool_operator.engine.store import ObjectKey

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
# A slow API server is answered by a few calls at a time, not by one after the other.
_WRITERS = 8


class StatusWriter:
    """Keys whose status is to be written. `run` must run for anything to be written."""

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
        # Sets in the order of insertion.
        self._urgent: dict[ObjectKey, None] = {}
        self._patient: dict[ObjectKey, None] = {}
        self._later: dict[ObjectKey, asyncio.TimerHandle] = {}
        self._written_at: dict[ObjectKey, float] = {}
        # Under way, each with the gap of what was marked meanwhile.
        self._writing: dict[ObjectKey, float | None] = {}
        self._wake = asyncio.Event()
        self._writers = asyncio.Semaphore(_WRITERS)

    def mark(self, key: ObjectKey, gap: float) -> None:
        """The status under this key differs from what was written: write it `gap` seconds after the last time.

        With a gap of 0 it goes before all that have one.
        """
        if key in self._writing:
            before = self._writing[key]
            self._writing[key] = gap if before is None else min(gap, before)
        elif gap <= 0:
            self._unqueue(key)
            self._enqueue(self._urgent, key)
        elif key not in self._urgent and key not in self._patient:
            self._mark_later(key, gap)

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._unqueue(key)
        self._urgent.pop(key, None)
        self._written_at.pop(key, None)

    async def run(self) -> None:
        """Write what is queued, for ever."""
        async with asyncio.TaskGroup() as writes:
            while True:
                self._wake.clear()
                if not self._urgent and not self._patient:
                    await self._wake.wait()
                await self._slot()
                await self._writers.acquire()
                # Taken only now, so that what became urgent meanwhile goes first.
                key = self._take()
                if key is None:
                    self._writers.release()
                else:
                    writes.create_task(self._write_one(key))

    def _mark_later(self, key: ObjectKey, gap: float) -> None:
        loop = asyncio.get_running_loop()
        wait = self._written_at.get(key, float("-inf")) + gap - self._clock()
        if wait <= 0:
            self._enqueue(self._patient, key)
        elif key not in self._later or self._later[key].when() > loop.time() + wait:
            self._unqueue(key)
            self._later[key] = loop.call_later(wait, self._enqueue, self._patient, key)

    def _enqueue(self, queue: dict[ObjectKey, None], key: ObjectKey) -> None:
        self._unqueue(key)
        queue[key] = None
        self._wake.set()

    def _unqueue(self, key: ObjectKey) -> None:
        """Out of all that is less than urgent."""
        self._patient.pop(key, None)
        if (timer := self._later.pop(key, None)) is not None:
            timer.cancel()

    def _take(self) -> ObjectKey | None:
        queue = self._urgent or self._patient
        if not queue:
            return None
        key = next(iter(queue))
        del queue[key]
        self._writing[key] = None
        self._written_at[key] = self._clock()
        return key

    async def _write_one(self, key: ObjectKey) -> None:
        try:
            await self._write(key)
        except Exception:  # noqa: BLE001 - what is wrong with one status must not end the writing of all
            _log.exception("the status of %s %s/%s cannot be written", key[0], *key[1])
            self._writing[key] = self._writing[key] or _RETRY_SECONDS
        finally:
            self._writers.release()
            gap = self._writing.pop(key)
        if gap is not None:
            self.mark(key, gap)

    async def _slot(self) -> None:
        """Wait for a place in the budget, which lets bursts of up to one second through."""
        now = self._clock()
        self._next_slot = max(self._next_slot, now - 1.0) + self._gap
        if self._next_slot > now:
            await asyncio.sleep(self._next_slot - now)
