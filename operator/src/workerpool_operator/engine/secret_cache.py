"""Secrets in use, read again now and then: the operator may only get them, not watch them.

Comes in: who needs which Secret. Goes out: its values, and a call when they changed. The reads are spread over the
interval, and slow down when there are very many Secrets.
"""

import asyncio
import logging
from collections.abc import Callable

from workerpool_operator.api import Unreadable
from workerpool_operator.cluster import ApiError, SecretReader
from workerpool_operator.engine.bindings import SecretValues
from workerpool_operator.engine.store import Key, ObjectKey

_log = logging.getLogger(__name__)
_READS_PER_SECOND = 50.0
_READS_AT_ONCE = 16


class SecretCache:
    """The values of each Secret that somebody needs. `run` must run for anything to be read."""

    def __init__(self, reader: SecretReader, on_change: Callable[[Key], None], interval: float) -> None:
        self._reader = reader
        self._on_change = on_change
        self._interval = interval
        self._values: dict[Key, SecretValues | None] = {}
        self._users: dict[Key, set[ObjectKey]] = {}
        self._held: dict[ObjectKey, frozenset[Key]] = {}
        self._urgent: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)

    def hold(self, user: ObjectKey, needed: frozenset[Key]) -> None:
        """Keep these Secrets read for the user, and no others."""
        before = self._held.pop(user, frozenset())
        if needed:
            self._held[user] = needed
        for secret in needed - before:
            self._users.setdefault(secret, set()).add(user)
            if secret not in self._values:
                self._values[secret] = None
                self.refresh(secret)
        for secret in before - needed:
            self._users[secret].discard(user)
            if not self._users[secret]:
                del self._users[secret]
                del self._values[secret]

    def users(self, secret: Key) -> tuple[ObjectKey, ...]:
        """Who needs it."""
        return tuple(self._users.get(secret, ()))

    def get(self, secret: Key) -> SecretValues | None:
        """Its values; None while it has not been read."""
        return self._values.get(secret)

    def refresh(self, secret: Key) -> None:
        """Read it as soon as can be."""
        self._urgent[secret] = None
        self._wake.set()

    async def run(self) -> None:
        """Read the Secrets in turn, for ever; urgent ones first."""
        turn: list[Key] = []
        while True:
            self._wake.clear()
            urgent, self._urgent = self._urgent, {}
            await asyncio.gather(*(self._read(secret) for secret in urgent))
            if not turn:
                turn = list(self._values)
            if turn:
                await self._read(turn.pop())
            pause = max(1 / _READS_PER_SECOND, self._interval / max(1, len(self._values)))
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _read(self, secret: Key) -> None:
        if secret not in self._values:
            return
        namespace, name = secret
        values: SecretValues
        try:
            async with self._reads:
                values = await self._reader.read(namespace, name)
        except ApiError as error:
            if error.not_found:
                message = f"Secret {name} does not exist in namespace {namespace}; create it, or correct secretKeyRef"
                values = Unreadable("SecretMissing", message)
            elif error.forbidden:
                message = f"Secret {name} in namespace {namespace} may not be read by the operator; allow it to get it"
                values = Unreadable("SecretForbidden", message)
            else:
                # What was read before stays in use while the API server is away.
                _log.warning("Secret %s/%s cannot be read now: %s", namespace, name, error)
                return
        if secret in self._values and self._values[secret] != values:
            self._values[secret] = values
            self._on_change(secret)
