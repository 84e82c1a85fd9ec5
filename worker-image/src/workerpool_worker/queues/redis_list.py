"""A Redis list as a reliable queue.

In: a list key K. Producers LPUSH, workers take from the right. Out: claims with leases. Beside K, in its
cluster slot, with P = K if it has a hash tag, else ``{K}``: ``P:active`` ZSET claim id by lease deadline (ms),
``P:claims`` HASH claim id to the element as it was, ``P:delayed`` ZSET envelope by due time (ms), ``P:dead``
LIST, ``P:layout`` STRING. An element moves between them in one Lua call, so a kill at any point loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from workerpool_worker.errors import BrokerError, ConfigError
from workerpool_worker.queues.base import Claim, lost_worker_reason
from workerpool_worker.queues.envelope import Envelope

log = logging.getLogger(__name__)

_T = TypeVar("_T")

LAYOUT = "workerpool/1"
_HASH_TAG = re.compile(r"\{[^}]+\}")
_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 10
_BLOCK_SECONDS = 5
_TICK_SECONDS = 1.0
_BATCH = 100
_PUSH_BATCH = 500

_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

# KEYS list, active, claims; ARGV lease ms, claim ids. Returns the elements claimed, in the ids' order.
_CLAIM = (
    _NOW
    + """
local taken = {}
for i = 2, #ARGV do
  local element = redis.call('RPOP', KEYS[1])
  if not element then break end
  redis.call('HSET', KEYS[3], ARGV[i], element)
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[1]), ARGV[i])
  taken[#taken + 1] = element
end
return taken
"""
)

# KEYS active; ARGV lease ms, claim ids. Returns the ids whose claim is gone.
_RENEW = (
    _NOW
    + """
local gone = {}
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[1]), ARGV[i])
  else
    gone[#gone + 1] = ARGV[i]
  end
end
return gone
"""
)

# KEYS active, claims, target; ARGV claim id, deadline it must still have or '', what to do with the target
# (none, right, left, delay), element or '' for the claimed one, delay ms. Returns 0 when the claim is gone.
_SETTLE = (
    _NOW
    + """
local deadline = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not deadline or (ARGV[2] ~= '' and deadline ~= ARGV[2]) then return 0 end
local element = ARGV[4]
if element == '' then element = redis.call('HGET', KEYS[2], ARGV[1]) end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
if ARGV[3] == 'right' then redis.call('RPUSH', KEYS[3], element)
elseif ARGV[3] == 'left' then redis.call('LPUSH', KEYS[3], element)
elseif ARGV[3] == 'delay' then redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[5]), element) end
return 1
"""
)

# KEYS active, claims; ARGV most. Returns claim id, deadline, element for each expired claim, flat.
_EXPIRED = (
    _NOW
    + """
local found = {}
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do
  local element = redis.call('HGET', KEYS[2], id)
  if element then
    for _, value in ipairs({id, redis.call('ZSCORE', KEYS[1], id), element}) do found[#found + 1] = value end
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return found
"""
)

# KEYS delayed, list; ARGV most. Moves due retries to where they are taken next, the earliest first.
_MOVE_DUE = (
    _NOW
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for i = #due, 1, -1 do
  redis.call('ZREM', KEYS[1], due[i])
  redis.call('RPUSH', KEYS[2], due[i])
end
return #due
"""
)


def companion_prefix(key: str) -> str:
    """What stands before ``:active`` and the like, in the same cluster slot as the list."""
    return key if _HASH_TAG.search(key) else "{" + key + "}"


class RedisListQueue:
    """The list at ``key``; see Queue for the methods.

    Args:
        url: Of the server, perhaps with a password.
        password: Gives the password of now; None: the URL's.
        key: The list.
        worker_id: Stands in dead letters.
        lease_seconds: A claim that is not renewed for so long comes back.
        max_attempts: A job whose worker dies in so many attempts is buried.
    """

    def __init__(
        self,
        *,
        url: str,
        password: Callable[[], str | None],
        key: str,
        worker_id: str,
        lease_seconds: float,
        max_attempts: int,
    ) -> None:
        self._url, self._password = url, password
        self._key, self._worker_id, self._max_attempts = key, worker_id, max_attempts
        prefix = companion_prefix(key)
        self._active, self._claims = f"{prefix}:active", f"{prefix}:claims"
        self._delayed, self._dead = f"{prefix}:delayed", f"{prefix}:dead"
        self._layout = f"{prefix}:layout"
        self._lease_ms = int(lease_seconds * 1000)
        self._connected = False
        self._held: set[str] = set()
        self._unanswered: set[str] = set()
        self._reap_from = 0.0
        self._client: redis.Redis | None = None
        self._waiter: redis.Redis | None = None

    @property
    def connected(self) -> bool:
        """See Queue."""
        return self._connected

    async def claim(self, limit: int) -> list[Claim]:
        """See Queue."""
        await self._return_unanswered()
        now_ms = int(time.time() * 1000)
        ids = [f"{now_ms}-{uuid.uuid4().hex}" for _ in range(limit)]
        # Until the answer is here, Redis may have given jobs to these ids: then they are given back.
        self._unanswered.update(ids)
        elements = await self._script(_CLAIM, [self._key, self._active, self._claims], [self._lease_ms, *ids])
        self._unanswered.clear()
        taken = ids[: len(elements)]
        self._held.update(taken)
        return [_claim(id_, element) for id_, element in zip(taken, elements, strict=True)]

    async def wait(self) -> None:
        """See Queue: BLMOVE of the list onto its own end changes nothing and waits until there is an element."""
        if self._waiter is None:
            self._waiter = self._new_client(_BLOCK_SECONDS + _ANSWER_SECONDS)
        waiter = self._waiter
        try:
            await self._guarded(lambda: waiter.blmove(self._key, self._key, _BLOCK_SECONDS, "RIGHT", "RIGHT"))
        except asyncio.CancelledError:
            # Its connection may still get the answer that nobody reads.
            self._waiter = None
            await waiter.aclose()
            raise

    async def finish(self, claim: Claim) -> None:
        """See Queue."""
        await self._settle(claim, "none", self._key)

    async def retry(self, claim: Claim, delay_ms: int) -> None:
        """See Queue."""
        await self._settle(claim, "delay", self._delayed, _envelope(claim).after_attempt().element(), delay_ms)

    async def bury(self, claim: Claim, reason: str) -> None:
        """See Queue."""
        await self._settle(claim, "left", self._dead, self._letter(_envelope(claim), reason))

    async def release(self, claim: Claim) -> None:
        """See Queue."""
        await self._settle(claim, "right", self._key)

    async def maintain(self) -> None:
        """See Queue. Every second: leases renewed when due, expired claims and due retries brought back."""
        renew_every = self._lease_ms / 3000
        renewed = announced = -renew_every
        while True:
            now = time.monotonic()
            if now - renewed >= renew_every:
                await self._renew()
                renewed = now
            if now - announced >= min(_BLOCK_SECONDS, renew_every) or not self._connected:
                await self._guarded(lambda: self._main().set(self._layout, LAYOUT))
                announced = now
            if now >= self._reap_from:
                await self._reap()
            while await self._script(_MOVE_DUE, [self._delayed, self._key], [_BATCH]) == _BATCH:
                pass
            await asyncio.sleep(min(_TICK_SECONDS, renew_every) * random.uniform(0.8, 1.0))  # noqa: S311 - spread

    async def stop_claiming(self) -> None:
        """See Queue: nothing is taken in advance, but an unanswered claim may hold jobs."""
        await self._return_unanswered()

    async def size(self) -> int | None:
        """See Queue."""
        waiting: int = await self._guarded(lambda: self._main().llen(self._key))
        return waiting

    async def push(self, jobs: Sequence[tuple[str, bytes]]) -> None:
        """See Queue."""
        payloads = [payload for _, payload in jobs]
        for start in range(0, len(payloads), _PUSH_BATCH):
            batch = payloads[start : start + _PUSH_BATCH]
            await self._guarded(lambda batch=batch: self._main().lpush(self._key, *batch))  # type: ignore[misc]

    async def close(self) -> None:
        """See Queue."""
        for client in (self._client, self._waiter):
            if client is not None:
                await client.aclose()
        self._client = self._waiter = None

    async def _settle(self, claim: Claim, action: str, target: str, element: bytes = b"", delay_ms: int = 0) -> None:
        settled = await self._script(
            _SETTLE, [self._active, self._claims, target], [claim.id, "", action, element, delay_ms]
        )
        self._held.discard(claim.id)
        if not settled:
            log.warning(
                "the lease of this job had expired, so it is waiting again or done by another worker; "
                "raise WORKER_LEASE if the worker was not frozen",
                extra={"queue": self._key, "job_id": claim.job_id},
            )

    async def _renew(self) -> None:
        held = list(self._held)
        if held:
            gone = await self._script(_RENEW, [self._active], [self._lease_ms, *held])
            self._held.difference_update(id_.decode() for id_ in gone)

    async def _reap(self) -> None:
        """Bring expired claims back; a job that has used up its attempts this way is buried."""
        while True:
            found = await self._script(_EXPIRED, [self._active, self._claims], [_BATCH])
            for id_, deadline, element in zip(found[::3], found[1::3], found[2::3], strict=True):
                await self._bring_back(_claim(id_.decode(), element), deadline)
            if len(found) < 3 * _BATCH:
                return

    async def _bring_back(self, claim: Claim, deadline: bytes) -> None:
        envelope = _envelope(claim).after_attempt()
        if dead := envelope.attempts >= self._max_attempts:
            letter = self._letter(envelope, lost_worker_reason(envelope.attempts), counted=True)
            action, target, element = "left", self._dead, letter
        else:
            action, target, element = "right", self._key, envelope.element()
        moved = await self._script(
            _SETTLE, [self._active, self._claims, target], [claim.id, deadline, action, element, 0]
        )
        if moved:
            log.warning(
                "a worker lost this job: its lease expired",
                extra={
                    "queue": self._key,
                    "job_id": claim.job_id,
                    "attempt": envelope.attempts,
                    "outcome": "buried" if dead else "waiting again",
                },
            )

    def _letter(self, envelope: Envelope, reason: str, *, counted: bool = False) -> bytes:
        ended = envelope if counted else envelope.after_attempt()
        now_ms = int(time.time() * 1000)
        return ended.dead_letter(reason, now_ms=now_ms, queue=self._key, worker_id=self._worker_id)

    async def _return_unanswered(self) -> None:
        """Give back what a claim took whose answer was lost; their attempt has not begun."""
        for id_ in list(self._unanswered):
            await self._script(_SETTLE, [self._active, self._claims, self._key], [id_, "", "right", "", 0])
            self._unanswered.discard(id_)

    async def _script(self, script: str, keys: list[str], arguments: list[Any]) -> Any:  # noqa: ANN401 - scripts differ
        return await self._guarded(lambda: self._main().register_script(script)(keys=keys, args=arguments))

    async def _guarded(self, call: Callable[[], Awaitable[_T]]) -> _T:
        with self._explained():
            answer = await call()
        self._connected = True
        return answer

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError, ConfigError) as error:
            self._connected = False
            # Workers that were cut off as well renew first: what expired meanwhile is not theirs to lose.
            self._reap_from = time.monotonic() + self._lease_ms / 2000
            raise BrokerError(_mend(error, self._key)) from error

    def _main(self) -> redis.Redis:
        if self._client is None:
            self._client = self._new_client(_ANSWER_SECONDS)
        return self._client

    def _new_client(self, answer_seconds: float) -> redis.Redis:
        # No retries in the client: a script that ran and whose answer was lost must not run again unseen.
        return redis.Redis.from_url(
            self._url,
            **self._login(),
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=answer_seconds,
            retry=Retry(NoBackoff(), 0),
            client_name="workerpool-worker",
        )

    def _login(self) -> dict[str, Any]:
        """Have a configured password read at each connection, so that it may rotate."""
        if self._password() is None:
            return {}
        return {"credential_provider": _Login(unquote(urlsplit(self._url).username or ""), self._password)}


class _Login(CredentialProvider):
    """Gives redis-py the login of now."""

    def __init__(self, username: str, password: Callable[[], str | None]) -> None:
        self._username, self._password = username, password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return (password) or (user, password)."""
        password = self._password() or ""
        return (self._username, password) if self._username else (password,)


def _claim(id_: str, element: bytes) -> Claim:
    claimed_ms, _, unique = id_.partition("-")
    envelope = Envelope.of_element(element, claim=unique, now_ms=int(claimed_ms))
    return Claim(id_, envelope.id, envelope.payload, envelope.attempts, envelope.first_at_ms)


def _envelope(claim: Claim) -> Envelope:
    return Envelope(claim.job_id, claim.id.partition("-")[2], claim.attempts, claim.first_at_ms, claim.payload)


def _mend(error: Exception, key: str) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, AuthenticationError):
        return f"Redis refuses the login: {text}: mend WORKER_BROKER_PASSWORD(_FILE) or the URL"
    if isinstance(error, NoPermissionError):
        return f"Redis user lacks a permission: {text}"
    if isinstance(error, ResponseError) and text.startswith("WRONGTYPE"):
        return f"the key {key!r} or one of its companions is not of the expected type: name the key of a list"
    if isinstance(error, ResponseError) and "unknown command" in text:
        return f"Redis 6.2 or newer is needed: {text}"
    return f"Redis: {text}"
