"""The worker's life: claim, run within the timeout, settle, drain.

In: a queue, a way to perform a payload, the bounds. Out: every claim ended exactly once, metrics and one log
line an attempt. It ends when it was told to drain and nothing is in hand.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from workerpool_worker.errors import BrokerError, JobError, PermanentError, TemporaryError
from workerpool_worker.jobs.base import Context, Job
from workerpool_worker.jobs.registry import parse_job
from workerpool_worker.metrics import Metrics
from workerpool_worker.queues import Claim, Queue
from workerpool_worker.redaction import Redactor

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_INVALID_KIND = "invalid"
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 10.0
_LAST_CALL_SECONDS = 5.0
_REASON_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How the worker runs jobs; times in seconds.

    Attributes:
        concurrency: Jobs at a time.
        job_timeout: Of one attempt.
        max_attempts: Of one job.
        max_payload_bytes: Of a job's JSON.
        retry_interval: From the first failure to the second attempt.
        retry_backoff: Whether the interval doubles each time.
        retry_max_interval: What it grows to at most.
        drain_timeout: From the request to drain until jobs are given back; None: as long as they take.
    """

    concurrency: int
    job_timeout: float
    max_attempts: int
    max_payload_bytes: int
    retry_interval: float
    retry_backoff: Literal["exponential", "fixed"]
    retry_max_interval: float
    drain_timeout: float | None

    def delay_ms(self, attempt: int) -> int:
        """Milliseconds from the failure of an attempt (counted from 1) to the next."""
        # Capped before it is computed: 2 ** 10,000 is no float.
        doublings = min(attempt - 1, 40) if self.retry_backoff == "exponential" else 0
        return max(1, int(min(self.retry_interval * 2**doublings, self.retry_max_interval) * 1000))


class Runner:
    """One worker process's work.

    Args:
        queue: Where jobs come from.
        context: What jobs have at hand; each gets a copy with its id.
        bounds: See Bounds.
        metrics: Where attempts are counted.
        redactor: Keeps secrets out of reasons.
    """

    def __init__(self, *, queue: Queue, context: Context, bounds: Bounds, metrics: Metrics, redactor: Redactor) -> None:
        self._queue, self._context, self._bounds = queue, context, bounds
        self._metrics, self._redact = metrics, redactor
        self._draining = asyncio.Event()
        self._giving_back = asyncio.Event()
        self._in_hand: set[asyncio.Task[None]] = set()
        self._performances: set[asyncio.Task[JobError | None]] = set()
        self._slot_freed = asyncio.Event()
        self._broken: BaseException | None = None

    def drain(self) -> None:
        """Stop claiming and finish what is in hand; asked again: give it back."""
        if self._draining.is_set():
            self._giving_back.set()
        self._draining.set()

    def not_ready_because(self) -> str | None:
        """See Observed."""
        if self._draining.is_set():
            return "draining"
        return None if self._queue.connected else "the broker is not reachable"

    async def queue_size(self) -> int | None:
        """See Observed."""
        return await self._queue.size()

    async def run(self) -> None:
        """Work until drained."""
        maintenance = asyncio.create_task(self._maintain())
        maintenance.add_done_callback(self._stop_if_broken)
        try:
            await self._claim_until_draining()
            await self._finish_what_is_in_hand()
        finally:
            maintenance.cancel()
            await asyncio.wait({maintenance})
            await self._queue.close()
        if self._broken is not None:
            raise self._broken

    async def _claim_until_draining(self) -> None:
        pause = _Pause()
        while not self._draining.is_set():
            try:
                await self._claim_once()
                pause.reset()
            except BrokerError as error:
                log.warning("%s", error, extra={"again_in_seconds": pause.seconds})
                await _until(self._draining, pause.sleep())

    async def _claim_once(self) -> None:
        self._slot_freed.clear()
        free = self._bounds.concurrency - len(self._in_hand)
        if free <= 0:
            await _until(self._draining, self._slot_freed.wait())
            return
        claims = await _until(self._draining, self._queue.claim(free), patience=_LAST_CALL_SECONDS) or []
        for claim in claims:
            self._begin(claim)
        if not claims:
            await _until(self._draining, self._queue.wait())

    def _begin(self, claim: Claim) -> None:
        # What was claimed while the drain was asked for goes back untouched.
        back = self._draining.is_set()
        work = self._settle(lambda: self._queue.release(claim)) if back else self._attempt(claim)
        task = asyncio.create_task(work)
        self._in_hand.add(task)
        task.add_done_callback(self._ended)
        self._metrics.active.set(len(self._in_hand))

    async def _finish_what_is_in_hand(self) -> None:
        log.info("draining", extra={"in_hand": len(self._in_hand)})
        if self._bounds.drain_timeout is not None:
            asyncio.get_running_loop().call_later(self._bounds.drain_timeout, self._giving_back.set)
        try:
            async with asyncio.timeout(_LAST_CALL_SECONDS):
                await self._queue.stop_claiming()
        except (BrokerError, TimeoutError) as error:
            log.warning("the broker was not told of the drain: %s", error)
        give_back = asyncio.create_task(self._giving_back.wait())
        while self._in_hand and not self._giving_back.is_set():
            await asyncio.wait({*self._in_hand, give_back}, return_when=asyncio.FIRST_COMPLETED)
        give_back.cancel()
        for performance in self._performances:
            performance.cancel()
        if self._in_hand:
            await asyncio.wait(self._in_hand)
        log.info("drained")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        self._metrics.active.set(len(self._in_hand))
        self._slot_freed.set()
        self._stop_if_broken(task)

    def _stop_if_broken(self, task: asyncio.Task[None]) -> None:
        """End the worker after an error in its own code: what it holds comes back by itself."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = error
            self._draining.set()
            self._giving_back.set()

    async def _attempt(self, claim: Claim) -> None:
        """Run one job and settle its claim."""
        started = time.monotonic()
        kind, job_id = _INVALID_KIND, claim.job_id
        try:
            job = parse_job(claim.payload, max_bytes=self._bounds.max_payload_bytes)
            kind, job_id = job.kind, job.id or claim.job_id
            failure = await self._performed(job, job_id)
        except PermanentError as error:
            failure = error
        except asyncio.CancelledError:
            log.info("given back", extra={"job_id": job_id, "kind": kind, "attempt": claim.attempts + 1})
            await self._settle(lambda: self._queue.release(claim))
            return
        status = await self._conclude(claim, failure)
        seconds = time.monotonic() - started
        self._metrics.observe(kind, status, seconds)
        log.log(
            logging.INFO if failure is None else logging.WARNING,
            status,
            extra={
                "job_id": job_id,
                "kind": kind,
                "attempt": claim.attempts + 1,
                "seconds": round(seconds, 3),
                **({} if failure is None else {"reason": self._reason(failure)}),
            },
        )

    async def _performed(self, job: Job, job_id: str) -> JobError | None:
        """Perform a job in a task of its own, which a give-back can cancel; return how it failed.

        Raises:
            CancelledError: It is to be given back.
        """
        performance = asyncio.create_task(self._perform(job, job_id))
        self._performances.add(performance)
        performance.add_done_callback(self._performances.discard)
        return await performance

    async def _perform(self, job: Job, job_id: str) -> JobError | None:
        try:
            async with asyncio.timeout(self._bounds.job_timeout):
                await job.perform(replace(self._context, job_id=job_id))
        except JobError as error:
            return error
        except TimeoutError:
            return TemporaryError(
                f"not done within {self._bounds.job_timeout:g} s: make the job smaller, or raise WORKER_JOB_TIMEOUT"
            )
        except Exception as error:
            log.exception("a job broke the worker's code", extra={"job_id": job_id, "kind": job.kind})
            return TemporaryError(f"error in the worker: {type(error).__name__}: {error}")
        return None

    async def _conclude(self, claim: Claim, failure: JobError | None) -> str:
        """Settle the claim by the attempt's result, and return the status."""
        attempt = claim.attempts + 1
        if failure is None:
            await self._settle(lambda: self._queue.finish(claim))
            self._metrics.processed.inc()
            return "done"
        self._metrics.failed.inc()
        if isinstance(failure, PermanentError) or attempt >= self._bounds.max_attempts:
            await self._settle(lambda: self._queue.bury(claim, self._reason(failure)))
            self._metrics.dead_letters.inc()
            return "dead"
        await self._settle(lambda: self._queue.retry(claim, self._bounds.delay_ms(attempt)))
        self._metrics.retries.inc()
        return "retry"

    async def _settle(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Tell the broker, until it has heard; in a give-back once, since claims come back by themselves."""
        pause = _Pause()
        while True:
            last = self._giving_back.is_set()
            try:
                async with asyncio.timeout(_LAST_CALL_SECONDS if last else None):
                    return await settle()
            except (BrokerError, TimeoutError) as error:
                log.warning("the broker was not told of a job's end: %s", error)
                if last:
                    return None
            await _until(self._giving_back, pause.sleep())

    async def _maintain(self) -> None:
        pause = _Pause()
        while True:
            try:
                await self._queue.maintain()
            except BrokerError as error:
                log.warning("%s", error, extra={"again_in_seconds": pause.seconds})
                await pause.sleep()

    def _reason(self, failure: JobError) -> str:
        return self._redact(str(failure))[:_REASON_CHARACTERS]


async def _until(event: asyncio.Event, waiting: Awaitable[_T], patience: float = 0) -> _T | None:
    """Await, but no longer than until the event and some seconds of patience; None when it was cut short."""
    task = asyncio.ensure_future(waiting)
    stop = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and patience:
            await asyncio.wait({task}, timeout=patience)
    finally:
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    return None if task.cancelled() else task.result()


class _Pause:
    """Growing, jittered pauses between tries at a broker that is away."""

    def __init__(self) -> None:
        self.seconds = _FIRST_PAUSE_SECONDS

    def reset(self) -> None:
        """Begin with a short pause again."""
        self.seconds = _FIRST_PAUSE_SECONDS

    async def sleep(self) -> None:
        """Pause; the next one is twice as long at most."""
        seconds, self.seconds = self.seconds, min(self.seconds * 2, _LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - spread, not secrecy
