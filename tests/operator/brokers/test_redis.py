"""Depths out of a real Redis server: what is read, what each failure says, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.operator.brokers.reading import (
    PASSWORD,
    SHORT,
    failure,
    frozen,
    listening,
    lists,
    once,
    quoted,
    reading,
    redis_endpoint,
    saying,
    silent,
    sockets,
    unreadable,
    until,
)
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from workerpool_operator.api import Depth
from workerpool_operator.brokers.layouts.redis_list import companion_prefix

pytestmark = pytest.mark.servers

MINIMAL = ("+select", "+script|load", "+evalsha", "+eval", "+time", "+llen", "+exists", "+zcard", "+zcount")


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RedisServer]:
    yield redis_server
    redis_server.thaw()


def url(server: RedisServer, user: str = "", password: str | None = None, database: object = 0) -> str:
    login = f"{user}:{quoted(password)}@" if password is not None else ""
    return f"redis://{login}127.0.0.1:{server.port}/{database}"


def clients(server: RedisServer) -> int:
    with server.client() as client:
        return len(client.client_list())


# -- depths --------------------------------------------------------------------------------------------------------


async def test_a_plain_list_tells_what_waits_and_nothing_else(server: RedisServer) -> None:
    server.client().rpush("jobs", *range(7))
    assert await once(redis_endpoint(server.url), lists("jobs")) == [Depth(7, None, None)]


async def test_a_missing_key_is_an_empty_list(server: RedisServer) -> None:
    assert await once(redis_endpoint(server.url), lists("jobs")) == [Depth(0, None, None)]


async def test_results_come_in_the_order_of_the_questions_also_for_the_same_key(server: RedisServer) -> None:
    client = server.client()
    client.rpush("a", 1)
    client.rpush("b", 1, 2)
    depths = await once(redis_endpoint(server.url), lists("b", "a", "none", "b"))
    assert [depth.waiting for depth in depths if isinstance(depth, Depth)] == [2, 1, 0, 2]


@pytest.mark.parametrize(
    ("key", "prefix"),
    [("jobs", "{jobs}"), ("{tenant}:jobs", "{tenant}:jobs"), ("a{b}c", "a{b}c"), ("{}jobs", "{{}jobs}"), ("ü", "{ü}")],
)
async def test_a_list_with_companions_tells_what_is_in_flight_and_delayed(
    server: RedisServer, key: str, prefix: str
) -> None:
    assert companion_prefix(key) == prefix
    client = server.client()
    client.rpush(key, *range(3))
    client.set(f"{prefix}:layout", "1")
    client.zadd(f"{prefix}:active", {"one": 1, "two": 2})
    hour = 3_600_000
    now = int(time.time() * 1000)
    client.zadd(
        f"{prefix}:delayed", {"due": now - hour, "due too": now - 1, "soon": now + hour, "late": now + 9 * hour}
    )
    assert await once(redis_endpoint(server.url), lists(key)) == [Depth(waiting=5, in_flight=2, delayed=2)]


async def test_an_idle_list_with_companions_has_nothing_in_flight(server: RedisServer) -> None:
    server.client().set("{jobs}:layout", "1")
    assert await once(redis_endpoint(server.url), lists("jobs")) == [Depth(0, 0, 0)]


async def test_companions_without_their_mark_do_not_count(server: RedisServer) -> None:
    server.client().zadd("{jobs}:active", {"one": 1})
    assert await once(redis_endpoint(server.url), lists("jobs")) == [Depth(0, None, None)]


async def test_a_delayed_job_waits_from_the_moment_it_is_due(server: RedisServer) -> None:
    client = server.client()
    client.set("{jobs}:layout", "1")
    client.zadd("{jobs}:delayed", {"one": int(time.time() * 1000) + 300})
    async with reading(redis_endpoint(server.url)) as reader:
        assert await reader.read(lists("jobs")) == [Depth(0, 0, 1)]

        async def due() -> bool:
            return await reader.read(lists("jobs")) == [Depth(1, 0, 0)]

        await until(due, 3)


@pytest.mark.parametrize("spoilt", ["jobs", "{jobs}:active", "{jobs}:delayed"])
async def test_a_key_of_another_type_leaves_its_neighbours_readable(server: RedisServer, spoilt: str) -> None:
    client = server.client()
    client.rpush("a", 1)
    client.rpush("b", 1, 2)
    client.set("{jobs}:layout", "1")
    client.set(spoilt, "a string")
    first, error, last = await once(redis_endpoint(server.url), lists("a", "jobs", "b"))
    assert (first, last) == (Depth(1), Depth(2))
    assert unreadable(error).reason == "WrongType"
    assert unreadable(error).message == "list jobs holds another type of value; name a key of the right type"


async def test_five_thousand_lists_are_read_at_once(server: RedisServer) -> None:
    with server.client() as client, client.pipeline() as pipeline:
        for number in range(0, 5000, 7):
            pipeline.rpush(f"list-{number}", *range(number % 10 + 1))
        pipeline.execute()
    depths = await once(redis_endpoint(server.url), lists(*(f"list-{number}" for number in range(5000))))
    assert depths == [Depth(0 if number % 7 else number % 10 + 1) for number in range(5000)]


async def test_a_database_is_one_of_its_own(server: RedisServer) -> None:
    server.client().rpush("jobs", 1)
    assert await once(redis_endpoint(url(server, database=3)), lists("jobs")) == [Depth(0)]


async def test_the_server_is_told_while_there_is_a_connection(server: RedisServer) -> None:
    async with reading(redis_endpoint(server.url)) as reader:
        assert reader.server is None
        await reader.read(lists("jobs"))
        assert reader.server is not None
        assert reader.server.version == f"Redis {server.client().info('server')['redis_version']}"
        await reader.close()
        assert reader.server is None


async def test_our_connection_can_be_told_from_others(server: RedisServer) -> None:
    async with reading(redis_endpoint(server.url)) as reader:
        await reader.read([])
        assert "workerpool-operator" in [client["name"] for client in server.client().client_list()]


async def test_a_server_that_is_out_of_memory_is_read(server: RedisServer) -> None:
    client = server.client()
    client.rpush("jobs", 1)
    client.config_set("maxmemory", "1")
    assert await once(redis_endpoint(server.url), lists("jobs")) == [Depth(1)]


# -- a connection that is lost comes back --------------------------------------------------------------------------


async def test_a_flushed_script_is_loaded_again(server: RedisServer) -> None:
    server.client().rpush("jobs", 1)
    async with reading(redis_endpoint(server.url)) as reader:
        await reader.read(lists("jobs"))
        server.client().script_flush()
        assert await reader.read(lists("jobs")) == [Depth(1)]
        assert server.client().script_exists(reader._sha) == [True]  # type: ignore[attr-defined]


@pytest.mark.parametrize("keys", [(), ("jobs",)], ids=["nothing to read", "a list to read"])
async def test_a_server_that_stops_is_noticed_and_read_again_once_it_runs(
    server: RedisServer, keys: tuple[str, ...]
) -> None:
    async with reading(redis_endpoint(server.url)) as reader:
        before = await reader.read(lists(*keys))
        server.kill()
        assert (await failure(reader, lists(*keys))).reason == "Unreachable"
        assert (await failure(reader, lists(*keys))).reason == "Unreachable"
        server.start()
        assert await reader.read(lists(*keys)) == before


async def test_a_connection_that_the_server_closed_is_opened_again(server: RedisServer) -> None:
    async with reading(redis_endpoint(server.url)) as reader:
        await reader.read(lists("jobs"))
        server.disconnect_clients()
        await failure(reader, lists("jobs"))
        assert await reader.read(lists("jobs")) == [Depth(0)]


@pytest.mark.parametrize(
    "keys",
    [[], ["jobs"], [f"{number}{'😀' * 1000}" for number in range(1000)]],
    ids=["nothing to read", "a list to read", "more than a socket holds"],
)
async def test_a_frozen_server_costs_no_more_than_the_limit_and_is_read_again_after_it(
    server: RedisServer, keys: list[str]
) -> None:
    """What is still to be sent to a server that takes nothing must not be waited for when the connection is closed."""
    async with reading(redis_endpoint(server.url), SHORT) as reader:
        await reader.read([])
        held = sockets()
        await frozen(server, redis_endpoint(server.url))
        for _ in range(3):
            started = time.monotonic()
            error = await failure(reader, lists(*keys))
            assert error.reason == "Timeout"
            assert time.monotonic() - started < SHORT + 1.5
            assert sockets() < held
        server.thaw()
        assert await reader.read(lists("jobs")) == [Depth(0)]


async def test_reading_nothing_keeps_the_connection(server: RedisServer) -> None:
    async with reading(redis_endpoint(server.url)) as reader:
        assert await reader.read([]) == []
        connected = clients(server)
        for _ in range(5):
            assert await reader.read([]) == []
        assert clients(server) == connected


# -- what each failure says ----------------------------------------------------------------------------------------


async def test_no_server() -> None:
    port = free_port()
    async with reading(redis_endpoint(f"redis://:{quoted()}@127.0.0.1:{port}/0")) as reader:
        error = await failure(reader, lists("jobs"))
    assert error.reason == "Unreachable"
    assert error.message == (
        f"Redis at 127.0.0.1:{port}/0 cannot be reached: Connection refused; "
        "see that it runs, that host and port are right, and that the network lets us through"
    )


async def test_a_name_that_does_not_resolve() -> None:
    async with reading(redis_endpoint(f"redis://:{quoted()}@no-such-broker.invalid/0")) as reader:
        error = await failure(reader, lists("jobs"))
    assert error.reason == "Unreachable"
    assert error.message.startswith("Redis at no-such-broker.invalid:6379/0 cannot be reached: ")


@pytest.mark.parametrize("user", ["", "nobody"])
async def test_a_wrong_password_or_user(server: RedisServer, user: str) -> None:
    server.set_password("another")
    async with reading(redis_endpoint(url(server, user, PASSWORD))) as reader:
        error = await failure(reader, lists("jobs"))
    assert (error.reason, error.wants_new_credentials) == ("AuthenticationFailed", True)
    assert error.message.endswith("refused the user or password; correct the URL or its Secret")


async def test_a_missing_password(server: RedisServer) -> None:
    server.set_password(PASSWORD)
    async with reading(redis_endpoint(url(server))) as reader:
        assert (await failure(reader, lists("jobs"))).reason == "AuthenticationFailed"


async def test_a_right_password(server: RedisServer) -> None:
    server.set_password(PASSWORD)
    assert await once(redis_endpoint(url(server, "", PASSWORD)), lists("jobs")) == [Depth(0)]


async def test_a_password_that_changes_is_asked_for_when_the_connection_is_lost(server: RedisServer) -> None:
    server.set_password("old")
    async with reading(redis_endpoint(url(server, "", "old"))) as reader:
        await reader.read([])
        server.set_password(PASSWORD)
        assert await reader.read(lists("jobs")) == [Depth(0)]
        server.disconnect_clients()
        await failure(reader, [])
        assert (await failure(reader, [])).wants_new_credentials


async def test_the_user_that_messages_ask_for_can_read(server: RedisServer) -> None:
    server.add_user("eve", PASSWORD, *MINIMAL, "~jobs", "~{jobs}:*")
    server.client().set("{jobs}:layout", "1")
    assert await once(redis_endpoint(url(server, "eve", PASSWORD)), lists("jobs")) == [Depth(0, 0, 0)]
    assert await once(redis_endpoint(url(server, "eve", PASSWORD, 1)), lists("jobs")) == [Depth(0)]


@pytest.mark.parametrize("denied", ["+script|load", "+evalsha", "+time", "+select"])
async def test_a_user_that_may_not_run_scripts(server: RedisServer, denied: str) -> None:
    server.add_user("eve", PASSWORD, *(rule for rule in MINIMAL if rule != denied), "~*")
    async with reading(redis_endpoint(url(server, "eve", PASSWORD, 1))) as reader:
        error = await failure(reader, lists("jobs"))
    assert (error.reason, error.wants_new_credentials) == ("PermissionDenied", False)
    assert error.message.endswith(
        f"denies a command to this user; allow {' '.join(MINIMAL)} and the reading of the keys"
    )


@pytest.mark.parametrize("rules", [("~mine", "~{mine}:*"), ("~mine", "~{mine}:*", "~jobs")])
async def test_a_user_that_may_not_read_a_key_reads_the_others(server: RedisServer, rules: tuple[str, ...]) -> None:
    server.client().rpush("mine", 1)
    server.add_user("eve", PASSWORD, *MINIMAL, *rules)
    error, mine = await once(redis_endpoint(url(server, "eve", PASSWORD)), lists("jobs", "mine"))
    assert mine == Depth(1)
    assert unreadable(error).reason == "PermissionDenied"
    assert unreadable(error).message == (
        f"list jobs may not be read by this user; allow {' '.join(MINIMAL)} and the keys ~jobs ~{{jobs}}:*"
    )


@pytest.mark.parametrize("denied", ["+llen", "+exists", "+zcard", "+zcount"])
async def test_a_user_that_may_not_run_a_command_in_a_script(server: RedisServer, denied: str) -> None:
    server.client().set("{jobs}:layout", "1")
    server.add_user("eve", PASSWORD, *(rule for rule in MINIMAL if rule != denied), "~*")
    (error,) = await once(redis_endpoint(url(server, "eve", PASSWORD)), lists("jobs"))
    assert unreadable(error).reason == "PermissionDenied"


async def test_a_database_that_does_not_exist(server: RedisServer) -> None:
    async with reading(redis_endpoint(url(server, database=99))) as reader:
        error = await failure(reader, lists("jobs"))
    assert error.reason == "DatabaseMissing"
    assert error.message == f"Redis at 127.0.0.1:{server.port}/99 has no database 99; correct the end of the URL"


async def test_a_listener_that_never_answers() -> None:
    async with (
        listening(silent) as port,
        reading(redis_endpoint(f"redis://:{quoted()}@127.0.0.1:{port}"), SHORT) as reader,
    ):
        started = time.monotonic()
        error = await failure(reader, lists("jobs"))
    assert error.reason == "Timeout"
    assert f"did not answer within {SHORT:g} s" in error.message
    assert time.monotonic() - started < SHORT + 1.5


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"*1\r\n:1\r\n",
        b"*0\r\n",
        b"$-1\r\n",
        b"$3\r\nabc\r\n",
        b"-DENIED Redis is running in protected mode\r\n",
        b"*1\r\n" * 2000,
        b"\x00" * 100,
    ],
    ids=["HTTP", "OK", "number", "list", "empty list", "null", "text", "refusal", "nested lists", "noise"],
)
async def test_a_listener_that_is_no_redis(answer: bytes) -> None:
    """Whatever it says, the reader fails by a BrokerError, as the task that reads would end by any other."""
    async with (
        listening(saying(always=answer)) as port,
        reading(redis_endpoint(f"redis://127.0.0.1:{port}"), SHORT) as reader,
    ):
        assert (await failure(reader, lists("jobs"))).reason in ("BrokerFailure", "Timeout", "Unreachable")


async def test_a_server_that_repeats_our_password_is_not_quoted() -> None:
    """So does Redis itself with a command that it does not know, and what stands before it may not know AUTH."""
    echo = f"-ERR unknown command `AUTH`, with args beginning with: `eve`, `{PASSWORD}`, \r\n".encode()
    rude = f"-ERR what shall I do with {PASSWORD}?\r\n".encode()
    for answer, quote in ((echo, "answered: unknown command `AUTH`"), (rude, "answered: what shall I do with ***?")):
        async with (
            listening(saying(always=answer)) as port,
            reading(redis_endpoint(f"redis://eve:{quoted()}@127.0.0.1:{port}")) as reader,
        ):
            assert (await failure(reader, lists("jobs"))).message.endswith(quote)


async def test_tls_to_a_server_without_it(server: RedisServer) -> None:
    async with reading(redis_endpoint(f"rediss://:{quoted()}@127.0.0.1:{server.port}"), SHORT) as reader:
        assert (await failure(reader, lists("jobs"))).reason in ("Timeout", "Unreachable")


# -- nothing is left behind ----------------------------------------------------------------------------------------


async def test_many_reads_leave_no_connection_behind(server: RedisServer) -> None:
    server.add_user("eve", PASSWORD)
    before, held = clients(server), sockets()
    async with reading(redis_endpoint(url(server, "eve", PASSWORD))) as reader:
        for number in range(200):
            await reader.read(lists(f"list-{number}"))
            assert sockets() <= held + 1
    for password in ("wrong", None):
        async with reading(redis_endpoint(url(server, "eve" if password else "", password, 99))) as reader:
            for _ in range(100):
                await failure(reader, [])
    await until(lambda: clients(server) == before)
    assert sockets() == held


async def test_readers_that_open_and_close_leave_no_connection_behind(server: RedisServer) -> None:
    before, held = clients(server), sockets()
    for _ in range(50):
        await once(redis_endpoint(server.url), lists("jobs"))
    await until(lambda: clients(server) == before)
    assert sockets() == held


async def test_a_blackholed_server_gathers_no_sockets(server: RedisServer) -> None:
    held = sockets()
    await frozen(server, redis_endpoint(server.url))
    async with reading(redis_endpoint(server.url), 0.05) as reader:
        for _ in range(20):
            assert (await failure(reader, lists("x" * 1000))).reason == "Timeout"
            assert sockets() <= held


async def test_a_read_that_is_cancelled_leaves_no_connection_behind(server: RedisServer) -> None:
    held = sockets()
    await frozen(server, redis_endpoint(server.url))
    for _ in range(10):
        async with reading(redis_endpoint(server.url)) as reader:
            task = asyncio.create_task(reader.read(lists("jobs")))
            await until(lambda: sockets() > held)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
    assert sockets() == held


async def test_closing_twice_and_closing_unopened_is_nothing(server: RedisServer) -> None:
    async with reading(redis_endpoint(server.url)) as reader:
        await reader.close()
        await reader.read([])
        await reader.close()
        await reader.close()
