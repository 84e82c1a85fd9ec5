"""Kubernetes Events about our objects.

Comes in: an object, a reason, a sentence. Goes out: Events, written in the background, so that a slow API server
delays no decision; when too many wait the oldest are dropped and counted. What is told of a state that comes and
goes is told once a minute at most; what is told of a deed is told each time.
"""

import asyncio
import contextlib
import datetime
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from workerpool_operator.api.meta import GROUP, VERSION, Kind
from workerpool_operator.cluster.client import ApiError, KubeClient

EventType = Literal["Normal", "Warning"]

_log = logging.getLogger(__name__)
# 10,000 pools may scale at once; an event takes half a kilobyte.
_QUEUE = 20_000
_WRITERS = 4
_REPEAT_SECONDS = 60.0
_ATTEMPTS = 30
_RETRY_SECONDS = 1.0
# What is left at the end is written for so long; a standby does not wait for it.
_LAST_SECONDS = 2.0
# The note's limit in the API server's validation of Events.
_NOTE_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The object that an event is about."""

    kind: Kind
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class _Event:
    """One event; its id makes it the same one when it is written again."""

    about: ObjectRef
    type_: EventType
    reason: str
    message: str
    id_: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
    at: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


class EventRecorder:
    """Writes events. `run` must run for anything to be written."""

    def __init__(self, client: KubeClient, instance: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._queue: asyncio.Queue[_Event] = asyncio.Queue(_QUEUE)
        self._told: dict[tuple[str, str, str], float] = {}
        self._pruned_at = clock()

    def deed(self, about: ObjectRef, reason: str, message: str) -> None:
        """Queue one event about something that was done."""
        self._put(_Event(about, "Normal", reason, message))

    def state(self, about: ObjectRef, type_: EventType, reason: str, message: str) -> None:
        """Queue one event about a state; the same one of less than a minute ago is left out."""
        now = self._clock()
        key = (about.uid, reason, message)
        if now - self._told.get(key, float("-inf")) < _REPEAT_SECONDS:
            return
        if now - self._pruned_at > _REPEAT_SECONDS:
            self._told = {key: at for key, at in self._told.items() if now - at < _REPEAT_SECONDS}
            self._pruned_at = now
        self._told[key] = now
        self._put(_Event(about, type_, reason, message))

    async def run(self) -> None:
        """Write what is queued, for ever; when cancelled, what is left, for a moment."""
        try:
            async with asyncio.TaskGroup() as writers:
                for _ in range(_WRITERS):
                    writers.create_task(self._write_all())
        finally:
            with contextlib.suppress(ApiError, TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    while not self._queue.empty():
                        await self._write(self._queue.get_nowait())

    def _put(self, event: _Event) -> None:
        if self._queue.full():
            dropped = self._queue.get_nowait()
            _log.warning("event dropped, too many wait: %s %s", dropped.about.name, dropped.reason)
        self._queue.put_nowait(event)

    async def _write_all(self) -> None:
        while True:
            event = await self._queue.get()
            for left in reversed(range(_ATTEMPTS)):
                try:
                    await self._write(event)
                except ApiError as error:
                    if left and error.transient:
                        await asyncio.sleep(_RETRY_SECONDS)
                        continue
                    if not error.conflict:
                        _log.warning("event %s about %s was not written: %s", event.reason, event.about.name, error)
                break

    async def _write(self, event: _Event) -> None:
        about = event.about
        await self._client.post(
            f"/api/v1/namespaces/{about.namespace}/events",
            {
                "metadata": {"name": f"{about.name[:200]}.{event.id_}", "namespace": about.namespace},
                "involvedObject": {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": about.kind,
                    "namespace": about.namespace,
                    "name": about.name,
                    "uid": about.uid,
                },
                "type": event.type_,
                "reason": event.reason,
                "message": event.message[:_NOTE_LENGTH],
                "firstTimestamp": event.at,
                "lastTimestamp": event.at,
                "count": 1,
                "source": {"component": "workerpool-operator"},
                "reportingComponent": "workerpool-operator",
                "reportingInstance": self._instance,
            },
        )
