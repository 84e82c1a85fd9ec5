"""Kubernetes Events about our objects.

Comes in: an object, a reason, a sentence. Goes out: Events, written in the background, so that a slow API server
delays no decision; when too many wait the oldest are dropped and counted. A repeat within a minute of the same
event is not written again.
"""

import asyncio
import contextlib
import datetime
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from workerpool_operator.api.meta import GROUP, VERSION, Kind
from workerpool_operator.cluster.client import ApiError, KubeClient

EventType = Literal["Normal", "Warning"]

_log = logging.getLogger(__name__)
_QUEUE = 2000
_REPEAT_SECONDS = 60.0
# metav1.MicroTime and the note's limit in the API server's validation of Events.
_NOTE_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The object that an event is about."""

    kind: Kind
    namespace: str
    name: str
    uid: str


class EventRecorder:
    """Writes events. `run` must run for anything to be written."""

    def __init__(self, client: KubeClient, instance: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._queue: asyncio.Queue[tuple[ObjectRef, EventType, str, str]] = asyncio.Queue(_QUEUE)
        self._last: dict[tuple[str, str, str], float] = {}

    def record(self, about: ObjectRef, type_: EventType, reason: str, message: str) -> None:
        """Queue one event; the same one of less than a minute ago is left out."""
        now = self._clock()
        key = (about.uid, reason, message)
        if now - self._last.get(key, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return
        self._last[key] = now
        if len(self._last) > 2 * _QUEUE:
            self._last = {key: at for key, at in self._last.items() if now - at < _REPEAT_SECONDS}
        if self._queue.full():
            with contextlib.suppress(asyncio.QueueEmpty):
                dropped = self._queue.get_nowait()
                _log.warning("event dropped, too many wait: %s %s", dropped[0].name, dropped[2])
        self._queue.put_nowait((about, type_, reason, message))

    async def run(self) -> None:
        """Write what is queued, for ever."""
        while True:
            about, type_, reason, message = await self._queue.get()
            try:
                await self._write(about, type_, reason, message)
            except ApiError as error:
                _log.warning("event %s about %s was not written: %s", reason, about.name, error)

    async def _write(self, about: ObjectRef, type_: EventType, reason: str, message: str) -> None:
        now = datetime.datetime.now(datetime.UTC)
        await self._client.post(
            f"/api/v1/namespaces/{about.namespace}/events",
            {
                "metadata": {
                    "name": f"{about.name[:200]}.{uuid.uuid4().hex[:16]}",
                    "namespace": about.namespace,
                },
                "involvedObject": {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": about.kind,
                    "namespace": about.namespace,
                    "name": about.name,
                    "uid": about.uid,
                },
                "type": type_,
                "reason": reason,
                "message": message[:_NOTE_LENGTH],
                "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "count": 1,
                "source": {"component": "workerpool-operator"},
                "reportingComponent": "workerpool-operator",
                "reportingInstance": self._instance,
            },
        )
