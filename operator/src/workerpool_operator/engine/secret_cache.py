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
from workerpool_operator.engine.store import Key

_log = logging.getLogger(__name__)
_READS_PER_SECOND = 50.0


class SecretCache:
    """The values of each Secret that somebody needs. `run` must run for anything to be read."""

    def __init__(self, reader: SecretReader, on_change: Callable[[Key], None], interval: float) -> None:
        self._reader = reader
        self._on_change = on_change
        self._interval = interval
        self._values: dict[Key, SecretValues | None] = {}
        self._users: dict[Key, set[object]] = {}
        self._urgent: dict[Key, None] = {}
        self._wake = asyncio.Event()

    def hold(self, secret: Key, user: object) -> None:
        """Keep this Secret read for the user."""
        self._users.setdefault(secret, set()).add(user)
        if secret not in self._values:
            self._values[secret] = None
            self.refresh(secret)

    def release_all(self, user: object, *, but: frozenset[Key] = frozenset()) -> None:
        """The user needs no Secrets any more but these."""
        for secret in [key for key, users in self._users.items() if user in users and key not in but]:
            self._users[secret].discard(user)
            if not self._users[secret]:
                del self._users[secret]
                self._values.pop(secret, None)

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
            for secret in list(self._urgent):
                del self._urgent[secret]
                await self._read(secret)
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
