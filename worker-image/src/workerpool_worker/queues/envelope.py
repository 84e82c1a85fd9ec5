"""A job between two attempts, and a dead letter, as JSON in Redis.

In: an element of the list: a producer's payload, or an envelope of ours around one. Out: the payload byte for
byte with its history. An envelope is told from a payload by its first key, which no job has.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from workerpool_worker.queues.base import iso_time, named_id

_MARK = "workerpool.dev/envelope"
_VERSION = 1
_BEGINNING = b'{"workerpool.dev/envelope":'


@dataclass(frozen=True, slots=True)
class Envelope:
    """A job with its history.

    Attributes:
        id: The job's id: its own, or one given at its first claim.
        claim: What made this envelope; keeps those of equal jobs apart.
        attempts: Attempts that have ended.
        first_at_ms: When it was first claimed, Unix time in milliseconds.
        payload: What the producer sent.
    """

    id: str
    claim: str
    attempts: int
    first_at_ms: int
    payload: bytes

    @classmethod
    def of_element(cls, element: bytes, *, claim: str, now_ms: int) -> Self:
        """Read an element of the list; one that is no envelope is a payload at its first claim."""
        return cls._parse(element) or cls(named_id(element) or claim, claim, 0, now_ms, element)

    def after_attempt(self) -> Self:
        """The same job with one attempt more behind it."""
        return replace(self, attempts=self.attempts + 1)

    def element(self) -> bytes:
        """The JSON that waits in the list or among the delayed."""
        return _encode(
            {
                _MARK: _VERSION,
                "id": self.id,
                "claim": self.claim,
                "attempts": self.attempts,
                "firstAt": self.first_at_ms,
                **_payload_field(self.payload),
            }
        )

    def dead_letter(self, reason: str, *, now_ms: int, queue: str, worker_id: str) -> bytes:
        """The JSON of a dead letter; ``attempts`` must count the last one already."""
        return _encode(
            {
                "id": self.id,
                "queue": queue,
                "reason": reason,
                "attempts": self.attempts,
                "firstAttemptAt": iso_time(self.first_at_ms),
                "lastAttemptAt": iso_time(now_ms),
                "workerId": worker_id,
                **_payload_field(self.payload),
            }
        )

    @classmethod
    def _parse(cls, element: bytes) -> Self | None:
        if not element.startswith(_BEGINNING):
            return None
        try:
            match json.loads(element):
                case {
                    "workerpool.dev/envelope": 1,
                    "id": str(id_),
                    "claim": str(claim),
                    "attempts": int(attempts),
                    "firstAt": int(first),
                    **rest,
                }:
                    return cls(id_, claim, attempts, first, _payload_of(rest))
                case _:
                    return None
        except (ValueError, RecursionError):
            return None


def _encode(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _payload_field(payload: bytes) -> dict[str, object]:
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payloadBase64": base64.b64encode(payload).decode()}


def _payload_of(fields: Mapping[Any, object]) -> bytes:
    match fields:
        case {"payload": str(text)}:
            return text.encode()
        case {"payloadBase64": str(text)}:
            return base64.b64decode(text, validate=True)
        case _:
            raise ValueError("an envelope without payload")
