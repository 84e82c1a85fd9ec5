"""What the runner knows of a queue, whatever its broker.

In: nothing. Out: claims, each of which the runner ends exactly once: finished, retried, buried or released. A
claim that is never ended, because its worker is gone, comes back by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

_READ_FOR_ID_BYTES = 1024 * 1024
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in hand.

    Attributes:
        id: Names this claim in the broker's bookkeeping.
        job_id: Names the job, the same at each attempt: its own id, or one given at the first claim.
        payload: What the producer sent, byte for byte.
        attempts: Attempts that ended before this one, by failure or by the death of their worker.
        first_at_ms: When it was first claimed, Unix time in milliseconds.
    """

    id: str
    job_id: str
    payload: bytes
    attempts: int
    first_at_ms: int


class Queue(Protocol):
    """One queue of one broker. Every method may raise BrokerError; then nothing was lost, and it may be repeated."""

    @property
    def connected(self) -> bool:
        """Whether the last contact with the broker went well."""

    async def claim(self, limit: int) -> list[Claim]:
        """Take up to ``limit`` waiting jobs, without waiting for any. Cancelled only before ``stop_claiming``."""

    async def wait(self) -> None:
        """Return when there may be something to claim; takes nothing. May be cancelled."""

    async def finish(self, claim: Claim) -> None:
        """The job is done."""

    async def retry(self, claim: Claim, delay_ms: int) -> None:
        """The attempt failed: the job waits again after the delay, with one attempt more."""

    async def bury(self, claim: Claim, reason: str) -> None:
        """The job has failed for good: move it to the dead letters."""

    async def release(self, claim: Claim) -> None:
        """Give the job back as it was: waiting at once, the attempt not counted."""

    async def maintain(self) -> None:
        """Keep claims alive and bring due and lost jobs back, until cancelled."""

    async def stop_claiming(self) -> None:
        """Take nothing more from the broker, and give back what was not handed out."""

    async def size(self) -> int | None:
        """Waiting jobs; None where that is not cheap to know."""

    async def push(self, jobs: Sequence[tuple[str, bytes]]) -> None:
        """Append jobs (id, payload); they are safe with the broker when this returns."""

    async def close(self) -> None:
        """Close connections; claims not ended come back by themselves."""


def named_id(payload: bytes) -> str | None:
    """The id that a job gives itself; None where it gives none, or is no job."""
    if len(payload) > _READ_FOR_ID_BYTES:
        return None
    try:
        match json.loads(payload):
            case {"id": str(given)} if 0 < len(given) <= _LONGEST_ID and given.isprintable():
                return given
            case _:
                return None
    except (ValueError, RecursionError):
        return None


def iso_time(milliseconds: int) -> str:
    """Unix time in milliseconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def lost_worker_reason(attempts: int) -> str:
    """Why a job is buried whose attempts all ended without a word."""
    return (
        f"its worker died or lost its connection during the last of {attempts} attempts: "
        "the job may take more memory or time than the worker has"
    )
