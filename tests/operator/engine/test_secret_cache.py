"""Secrets in use are read soon, again in turn, within a rate, and forgotten when nobody needs them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

from tests.operator.engine.virtual_time import clock, in_virtual_time
from workerpool_operator.api import Unreadable
from workerpool_operator.cluster import ApiError, SecretReader
from workerpool_operator.engine.secret_cache import SecretCache
from workerpool_operator.engine.store import Key, ObjectKey

NONE: frozenset[Key] = frozenset()
URL: Key = ("default", "url")
OTHER: Key = ("default", "other")


def user(name: str = "pool") -> ObjectKey:
    return ("WorkerPool", ("default", name))


class Secrets:
    """An API server's Secrets, as far as the cache asks for them."""

    def __init__(self) -> None:
        self.values: dict[Key, dict[str, str] | ApiError] = {}
        self.reads: list[tuple[float, Key]] = []
        self.seconds = 0.0

    async def read(self, namespace: str, name: str) -> dict[str, str]:
        self.reads.append((clock(), (namespace, name)))
        await asyncio.sleep(self.seconds)
        value = self.values.get((namespace, name), ApiError(404, "NotFound", "gone"))
        if isinstance(value, ApiError):
            raise value
        return dict(value)


class Told:
    """Which Secrets changed, and when."""

    def __init__(self) -> None:
        self.changes: list[tuple[float, Key]] = []

    def __call__(self, secret: Key) -> None:
        self.changes.append((round(clock(), 3), secret))


@contextlib.asynccontextmanager
async def caching(secrets: Secrets, told: Told, interval: float = 3.0) -> AsyncIterator[SecretCache]:
    cache = SecretCache(cast("SecretReader", secrets), told, interval)
    task = asyncio.create_task(cache.run())
    try:
        yield cache
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@in_virtual_time
async def test_a_secret_is_read_as_soon_as_it_is_needed() -> None:
    secrets, told = Secrets(), Told()
    secrets.values[URL] = {"url": "redis://a"}
    async with caching(secrets, told) as cache:
        await asyncio.sleep(1.5)
        cache.hold(user(), frozenset({URL}))
        assert cache.get(URL) is None
        await asyncio.sleep(0.1)
        assert cache.get(URL) == {"url": "redis://a"}
    assert told.changes == [(1.5, URL)]


@in_virtual_time
async def test_a_secret_that_stays_the_same_is_no_news() -> None:
    secrets, told = Secrets(), Told()
    secrets.values[URL] = {"url": "redis://a"}
    async with caching(secrets, told) as cache:
        cache.hold(user(), frozenset({URL}))
        await asyncio.sleep(60)
    assert len(told.changes) == 1
    assert len(secrets.reads) > 15


@in_virtual_time
async def test_a_change_is_seen_within_the_interval() -> None:
    secrets, told = Secrets(), Told()
    secrets.values[URL] = {"url": "redis://a"}
    async with caching(secrets, told) as cache:
        cache.hold(user(), frozenset({URL}))
        await asyncio.sleep(10)
        secrets.values[URL] = {"url": "redis://b"}
        await asyncio.sleep(3.1)
        assert cache.get(URL) == {"url": "redis://b"}
    assert len(told.changes) == 2


@in_virtual_time
async def test_a_secret_is_read_at_once_on_request() -> None:
    secrets, told = Secrets(), Told()
    secrets.values[URL] = {"url": "redis://a"}
    async with caching(secrets, told, interval=600) as cache:
        cache.hold(user(), frozenset({URL}))
        await asyncio.sleep(10)
        secrets.values[URL] = {"url": "redis://b"}
        cache.refresh(URL)
        await asyncio.sleep(0.1)
        assert cache.get(URL) == {"url": "redis://b"}


@in_virtual_time
async def test_users_share_a_secret_until_the_last_is_gone() -> None:
    secrets, told = Secrets(), Told()
    secrets.values[URL] = {"url": "redis://a"}
    async with caching(secrets, told) as cache:
        cache.hold(user("one"), frozenset({URL}))
        cache.hold(user("two"), frozenset({URL}))
        assert set(cache.users(URL)) == {user("one"), user("two")}
        await asyncio.sleep(1)
        cache.hold(user("one"), NONE)
        assert (cache.users(URL), cache.get(URL)) == ((user("two"),), {"url": "redis://a"})
        cache.hold(user("two"), NONE)
        assert (cache.users(URL), cache.get(URL)) == ((), None)
        await asyncio.sleep(1)
        secrets.reads.clear()
        await asyncio.sleep(60)
    assert secrets.reads == []


@in_virtual_time
async def test_a_user_holds_what_it_named_last() -> None:
    secrets, told = Secrets(), Told()
    secrets.values |= {URL: {"url": "a"}, OTHER: {"url": "b"}}
    async with caching(secrets, told) as cache:
        cache.hold(user(), frozenset({URL}))
        cache.hold(user(), frozenset({OTHER}))
        await asyncio.sleep(1)
        assert (cache.get(URL), cache.get(OTHER)) == (None, {"url": "b"})


@in_virtual_time
async def test_a_secret_that_is_let_go_of_during_its_read_is_not_kept() -> None:
    secrets, told = Secrets(), Told()
    secrets.values[URL] = {"url": "a"}
    secrets.seconds = 1.0
    async with caching(secrets, told) as cache:
        cache.hold(user(), frozenset({URL}))
        await asyncio.sleep(0.5)
        cache.hold(user(), NONE)
        await asyncio.sleep(5)
        assert cache.get(URL) is None
    assert told.changes == []


@in_virtual_time
async def test_a_secret_that_cannot_be_had_says_why() -> None:
    secrets, told = Secrets(), Told()
    secrets.values[OTHER] = ApiError(403, "Forbidden", "no")
    async with caching(secrets, told) as cache:
        cache.hold(user(), frozenset({URL, OTHER}))
        await asyncio.sleep(1)
        missing, forbidden = cache.get(URL), cache.get(OTHER)
        secrets.values[URL] = {"url": "a"}
        await asyncio.sleep(4)
        assert cache.get(URL) == {"url": "a"}
    assert isinstance(missing, Unreadable)
    assert isinstance(forbidden, Unreadable)
    assert (missing.reason, forbidden.reason) == ("SecretMissing", "SecretForbidden")
    assert missing.message == "Secret url does not exist in namespace default; create it, or correct secretKeyRef"
    assert forbidden.message == (
        "Secret other in namespace default may not be read by the operator; allow it to get it"
    )


@in_virtual_time
async def test_a_secret_that_was_deleted_is_no_longer_used() -> None:
    secrets, told = Secrets(), Told()
    secrets.values[URL] = {"url": "a"}
    async with caching(secrets, told) as cache:
        cache.hold(user(), frozenset({URL}))
        await asyncio.sleep(1)
        del secrets.values[URL]
        await asyncio.sleep(4)
        assert isinstance(cache.get(URL), Unreadable)


@in_virtual_time
async def test_what_was_read_stays_in_use_while_the_api_server_is_away() -> None:
    secrets, told = Secrets(), Told()
    secrets.values[URL] = {"url": "a"}
    async with caching(secrets, told) as cache:
        cache.hold(user(), frozenset({URL}))
        await asyncio.sleep(1)
        secrets.values[URL] = ApiError(0, "Unreachable", "away")
        await asyncio.sleep(60)
        assert cache.get(URL) == {"url": "a"}
        secrets.values[URL] = {"url": "b"}
        await asyncio.sleep(4)
        assert cache.get(URL) == {"url": "b"}


@in_virtual_time
async def test_very_many_secrets_are_read_no_faster_than_the_rate_and_all_in_turn() -> None:
    secrets, told = Secrets(), Told()
    needed = frozenset(("default", f"s{number}") for number in range(1000))
    secrets.values |= {secret: {"url": "a"} for secret in needed}
    async with caching(secrets, told) as cache:
        cache.hold(user(), needed)
        await asyncio.sleep(1)
        assert len(told.changes) == 1000
        secrets.reads.clear()
        await asyncio.sleep(40)
    assert 1000 <= len(secrets.reads) <= 40 * 50 + 1
    assert {secret for _, secret in secrets.reads} == needed
