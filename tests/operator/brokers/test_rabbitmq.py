"""Depths out of a real RabbitMQ server: what is read, what each failure says, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.error
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.operator.brokers.conftest import Watcher
from tests.operator.brokers.reading import (
    LIMIT,
    PASSWORD,
    SHORT,
    Answer,
    failure,
    frozen,
    listening,
    once,
    queues,
    quoted,
    rabbitmq_endpoint,
    reading,
    saying,
    silent,
    sockets,
    unreadable,
    until,
)
from tests.servers.process import free_port
from tests.servers.rabbitmq import RabbitMQServer
from workerpool_operator.api import Depth
from workerpool_operator.brokers import BrokerError, Reader

pytestmark = pytest.mark.servers

MEND = "see that it runs, that host and port are right, and that the network lets us through"
Open = Callable[..., BlockingChannel]


@pytest.fixture
def server(rabbitmq_server: RabbitMQServer) -> Iterator[RabbitMQServer]:
    yield rabbitmq_server
    rabbitmq_server.thaw()


@pytest.fixture
def vhost(rabbitmq_vhost: str, server: RabbitMQServer) -> str:
    assert server
    return rabbitmq_vhost


@pytest.fixture
def channel(server: RabbitMQServer, vhost: str) -> Iterator[BlockingChannel]:
    """A channel of somebody else, to arrange with."""
    with connected(server.url_of(vhost)) as opened:
        yield opened


@contextlib.contextmanager
def connected(url: str) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        with contextlib.suppress(pika.exceptions.AMQPError):
            connection.close()


def publish(channel: BlockingChannel, queue: str, count: int) -> None:
    channel.confirm_delivery()
    for _ in range(count):
        channel.basic_publish("", queue, b"job")


def own_connections(server: RabbitMQServer) -> int:
    return sum(
        connection.get("client_properties", {}).get("connection_name") == "workerpool-operator"
        for connection in server.api("GET", "connections")
    )


# -- depths --------------------------------------------------------------------------------------------------------


async def test_ready_messages_wait_and_what_is_in_flight_is_unknown_without_management(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    channel.queue_declare("jobs")
    publish(channel, "jobs", 5)
    channel.basic_get("jobs")
    assert await once(rabbitmq_endpoint(server.url_of(vhost)), queues("jobs")) == [Depth(4, None, None)]


async def test_management_tells_what_is_in_flight(server: RabbitMQServer, vhost: str, channel: BlockingChannel) -> None:
    for queue in ("jobs", "idle"):
        channel.queue_declare(queue)
    publish(channel, "jobs", 5)
    channel.basic_get("jobs")
    channel.basic_get("jobs")
    endpoint = rabbitmq_endpoint(server.url_of(vhost), server.management_url)
    assert await once(endpoint, queues("jobs", "idle")) == [Depth(3, 2, None), Depth(0, 0, None)]


async def test_what_is_in_flight_follows_at_once(server: RabbitMQServer, vhost: str, channel: BlockingChannel) -> None:
    """A figure that is seconds old would take busy workers for idle ones."""
    channel.queue_declare("jobs")
    async with reading(rabbitmq_endpoint(server.url_of(vhost), server.management_url)) as reader:
        for _ in range(3):
            publish(channel, "jobs", 1)
            assert await reader.read(queues("jobs")) == [Depth(1, 0)]
            method, _, _ = channel.basic_get("jobs")
            assert await reader.read(queues("jobs")) == [Depth(0, 1)]
            channel.basic_ack(method.delivery_tag)
            channel.connection.process_data_events()

            async def done() -> bool:
                return await reader.read(queues("jobs")) == [Depth(0, 0)]

            await until(done, 1)


async def test_a_quorum_queue_is_read(server: RabbitMQServer, vhost: str, channel: BlockingChannel) -> None:
    """It counts its messages in flight every five seconds only, whoever asks."""
    channel.queue_declare("jobs", durable=True, arguments={"x-queue-type": "quorum"})
    publish(channel, "jobs", 3)
    channel.basic_get("jobs")
    async with reading(rabbitmq_endpoint(server.url_of(vhost), server.management_url)) as reader:

        async def read() -> bool:
            return await reader.read(queues("jobs")) == [Depth(2, 1)]

        await until(read)


async def test_results_come_in_the_order_of_the_questions_also_for_the_same_queue(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    for number in range(40):
        channel.queue_declare(f"q{number}")
    publish(channel, "q1", 1)
    publish(channel, "q30", 3)
    names = ["q30", *(f"q{number}" for number in range(40)), "q1"]
    results = await once(rabbitmq_endpoint(server.url_of(vhost)), queues(*names))
    assert results == [Depth({"q1": 1, "q30": 3}.get(name, 0)) for name in names]


@pytest.mark.parametrize("name", ["/", "a/b", "%", "%2F", "ü ö", "a@b#c?d", "x" * 255])
async def test_a_queue_and_a_vhost_of_any_name_are_read(server: RabbitMQServer, name: str) -> None:
    if name != "/":
        server.add_vhost(name)
    queue = f"{name} jobs"[-255:] if name == "x" * 255 else f"{name} jobs"
    try:
        with connected(server.url_of(name)) as channel:
            channel.queue_declare(queue, auto_delete=True)
            publish(channel, queue, 1)
            channel.basic_get(queue)
            publish(channel, queue, 2)
            by_url = rabbitmq_endpoint(server.url_of(name), server.management_url)
            by_queue = rabbitmq_endpoint(server.url_of("elsewhere"), server.management_url, vhost=name)
            assert by_url == by_queue
            assert await once(by_url, queues(queue)) == [Depth(2, 1)]
            channel.queue_delete(queue)
    finally:
        if name != "/":
            server.remove_vhost(name)


@pytest.mark.usefixtures("few_words")
async def test_a_thousand_queues_are_read_in_one_go(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    names = [f"q{number}" for number in range(1000)]
    transient = {"durable": False, "auto_delete": False, "arguments": {}}
    server.api("POST", f"definitions/{vhost}", {"queues": [{"name": name} | transient for name in names]})
    publish(channel, "q777", 7)
    async with reading(rabbitmq_endpoint(server.url_of(vhost))) as reader:
        for _ in range(2):
            results = await reader.read(queues(*names))
            assert results == [Depth(7 if name == "q777" else 0) for name in names]


async def test_the_server_is_told_while_there_is_a_connection(server: RabbitMQServer, vhost: str) -> None:
    async with reading(rabbitmq_endpoint(server.url_of(vhost))) as reader:
        assert reader.server is None
        await reader.read([])
        assert reader.server is not None
        assert reader.server.version == f"RabbitMQ {server.api('GET', 'overview')['rabbitmq_version']}"
        await reader.close()
        assert reader.server is None


# -- queues that fail alone ----------------------------------------------------------------------------------------


async def test_a_missing_queue_leaves_its_neighbours_readable_each_time(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    """A passive declare of a missing queue closes its channel, on which others are read."""
    names = [f"q{number}" for number in range(40)]
    for name in names:
        if name != "q13":
            channel.queue_declare(name)
    async with reading(rabbitmq_endpoint(server.url_of(vhost), server.management_url)) as reader:
        for _ in range(5):
            results = await reader.read(queues(*names))
            missing = unreadable(results.pop(13))
            assert results == [Depth(0, 0)] * 39
            assert missing.reason == "QueueMissing"
            assert missing.message == f"queue q13 in vhost {vhost} does not exist; declare it, or correct its name"
        channel.queue_declare("q13")
        assert await reader.read(queues(*names)) == [Depth(0, 0)] * 40


@pytest.mark.usefixtures("few_words")
async def test_a_hundred_missing_queues_cost_no_more_than_their_channels(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    channel.queue_declare("jobs")
    held = sockets()
    async with reading(rabbitmq_endpoint(server.url_of(vhost))) as reader:
        for _ in range(3):
            *missing, jobs = await reader.read(queues(*(f"missing-{number}" for number in range(100)), "jobs"))
            assert {unreadable(result).reason for result in missing} == {"QueueMissing"}
            assert jobs == Depth(0)
            assert sockets() == held + 1


async def test_a_queue_that_belongs_to_another_connection_is_told(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    channel.queue_declare("mine", exclusive=True)
    channel.queue_declare("jobs")
    exclusive, jobs = await once(rabbitmq_endpoint(server.url_of(vhost)), queues("mine", "jobs"))
    assert jobs == Depth(0)
    assert unreadable(exclusive).reason == "QueueExclusive"
    assert unreadable(exclusive).message == f"queue mine in vhost {vhost} is exclusive to another connection"


async def test_a_name_that_no_queue_can_have_leaves_its_neighbours_readable(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    channel.queue_declare("jobs")
    too_long, jobs = await once(rabbitmq_endpoint(server.url_of(vhost)), queues("ü" * 128, "jobs"))
    assert jobs == Depth(0)
    assert unreadable(too_long).reason == "QueueMissing"


# -- the management API fails: what waits is known all the same ------------------------------------------------------


async def at_least(management: str, server: RabbitMQServer, vhost: str, limit: float = LIMIT) -> tuple[str, str]:
    """Reason and message of a queue with two ready messages whose messages in flight cannot be counted."""
    with connected(server.url_of(vhost)) as channel:
        channel.queue_declare("jobs")
        publish(channel, "jobs", 2)
    async with reading(rabbitmq_endpoint(server.url_of(vhost), management), limit) as reader:
        for _ in range(2):
            started = time.monotonic()
            missing, jobs = await reader.read(queues("missing", "jobs"))
            assert time.monotonic() - started < limit + 1.5
            assert unreadable(missing).reason == "QueueMissing"
            assert unreadable(jobs).at_least == Depth(2)
    assert PASSWORD not in repr(jobs)
    assert quoted() not in repr(jobs)
    return unreadable(jobs).reason, unreadable(jobs).message


async def test_no_management(server: RabbitMQServer, vhost: str) -> None:
    base = f"127.0.0.1:{free_port()}"
    reason, message = await at_least(f"http://eve:{quoted()}@{base}", server, vhost)
    assert (reason, message) == ("ManagementUnreachable", f"the management API at http://{base} cannot be read")


@pytest.mark.parametrize(("tags", "password"), [("management", "wrong"), ("", PASSWORD)])
async def test_management_refuses_the_user(server: RabbitMQServer, vhost: str, tags: str, password: str) -> None:
    server.add_user("eve", PASSWORD, vhost, tags)
    login = f"eve:{quoted(password)}"
    reason, message = await at_least(f"http://{login}@127.0.0.1:{server.management_port}", server, vhost)
    assert reason == "ManagementDenied"
    assert message == (
        f"the management API at {server.management_url} refused the user (HTTP 401); "
        "give it the management tag, or correct the URL"
    )


async def test_management_takes_the_user_of_the_broker_with_any_password(server: RabbitMQServer, vhost: str) -> None:
    password = f"pässwörd {PASSWORD}"
    server.add_user("jürgen", password, vhost, "management")
    with connected(server.url_of(vhost)) as channel:
        channel.queue_declare("jobs")
        login = f"{quote('jürgen')}:{quoted(password)}"
        url = f"amqp://{login}@127.0.0.1:{server.port}/{vhost}"
        assert await once(rabbitmq_endpoint(url, server.management_url), queues("jobs")) == [Depth(0, 0)]


async def test_management_that_never_answers(server: RabbitMQServer, vhost: str) -> None:
    async with listening(silent) as port:
        reason, message = await at_least(f"http://eve:{quoted()}@127.0.0.1:{port}", server, vhost, SHORT)
    assert reason == "ManagementTimeout"
    assert message == f"the management API at http://127.0.0.1:{port} did not answer in time"


def serving(body: object, *, status: str = "200 OK", delay: float = 0.0) -> Answer:
    """An HTTP server that gives this answer to everything."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(delay)
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)

    async def until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await answer(reader, writer)

    return until_gone


async def test_management_that_is_slow_is_waited_for(server: RabbitMQServer, vhost: str) -> None:
    with connected(server.url_of(vhost)) as channel:
        channel.queue_declare("jobs")
        answer = serving([{"name": "jobs", "messages_unacknowledged": 9}], delay=0.2)
        async with listening(answer) as port:
            endpoint = rabbitmq_endpoint(server.url_of(vhost), f"http://127.0.0.1:{port}")
            assert await once(endpoint, queues("jobs")) == [Depth(0, 9)]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"items": []}, "200 OK", "ManagementFailed"),
        ("text", "200 OK", "ManagementFailed"),
        (None, "200 OK", "ManagementFailed"),
        (b"<html></html>", "200 OK", "ManagementUnreachable"),
        (b"", "200 OK", "ManagementFailed"),
        (b"\xff\xfe", "200 OK", "ManagementUnreachable"),
        ({}, "404 Not Found", "ManagementFailed"),
        ({}, "500 Internal Server Error", "ManagementFailed"),
        ({}, "403 Forbidden", "ManagementDenied"),
        ([], "200 OK", "InFlightUnknown"),
        ([{"name": "jobs"}], "200 OK", "InFlightUnknown"),
        ([{"name": "jobs", "messages_unacknowledged": None}], "200 OK", "InFlightUnknown"),
        ([{"messages_unacknowledged": 1}, 7, None, "jobs"], "200 OK", "InFlightUnknown"),
    ],
)
async def test_an_answer_of_management_that_tells_nothing_is_no_zero(
    server: RabbitMQServer, vhost: str, body: object, status: str, reason: str
) -> None:
    async with listening(serving(body, status=status)) as port:
        assert (await at_least(f"http://eve:{quoted()}@127.0.0.1:{port}", server, vhost))[0] == reason


async def test_management_is_not_asked_where_there_is_nothing_to_ask_for(server: RabbitMQServer, vhost: str) -> None:
    asked: list[str] = []

    async def noting(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode())

    async with listening(noting) as port:
        endpoint = rabbitmq_endpoint(server.url_of(vhost), f"http://127.0.0.1:{port}")
        assert await once(endpoint, []) == []
    assert asked == []


# -- what each failure of the broker says --------------------------------------------------------------------------


async def failing(url: str, limit: float = LIMIT) -> BrokerError:
    async with reading(rabbitmq_endpoint(url), limit) as reader:
        errors = [await failure(reader, queues("jobs")) for _ in range(2)]
    assert errors[0].message == errors[1].message
    return errors[0]


async def test_no_server() -> None:
    port = free_port()
    error = await failing(f"amqp://eve:{quoted()}@127.0.0.1:{port}/")
    assert error.reason == "Unreachable"
    assert error.message == f"RabbitMQ at 127.0.0.1:{port}/ cannot be reached: Connection refused; {MEND}"


async def test_a_name_that_does_not_resolve() -> None:
    error = await failing(f"amqp://eve:{quoted()}@no-such-broker.invalid/")
    assert error.reason == "Unreachable"
    assert error.message.startswith("RabbitMQ at no-such-broker.invalid:5672/ cannot be reached: ")


@pytest.mark.parametrize("user", ["guest", "nobody"])
async def test_a_wrong_password_or_user(server: RabbitMQServer, vhost: str, user: str) -> None:
    error = await failing(f"amqp://{user}:{quoted()}@127.0.0.1:{server.port}/{vhost}")
    assert (error.reason, error.wants_new_credentials) == ("AuthenticationFailed", True)
    assert error.message.endswith("refused the user or password; correct the URL or its Secret")


async def test_the_lines_of_the_library_are_watched(vhost: str, logs_hold_no_password: Watcher) -> None:
    await failing(f"amqp://guest:{quoted()}@127.0.0.1:{free_port()}/{vhost}")
    assert logs_hold_no_password.lines > 10


async def test_a_user_without_a_password(server: RabbitMQServer, vhost: str) -> None:
    assert (await failing(f"amqp://guest@127.0.0.1:{server.port}/{vhost}")).reason == "AuthenticationFailed"


async def test_a_missing_vhost(server: RabbitMQServer) -> None:
    error = await failing(server.url_of("no/such"))
    assert error.reason == "VhostMissing"
    assert error.message == (
        f"RabbitMQ at 127.0.0.1:{server.port}/no/such has no vhost no/such; create it, or correct it"
    )


async def test_a_user_without_permissions_on_the_vhost(server: RabbitMQServer, vhost: str) -> None:
    server.add_user("eve", PASSWORD, vhost)
    other = server.add_vhost()
    error = await failing(f"amqp://eve:{quoted()}@127.0.0.1:{server.port}/{other}")
    server.remove_vhost(other)
    assert (error.reason, error.wants_new_credentials) == ("PermissionDenied", False)
    assert error.message == (
        f"RabbitMQ at 127.0.0.1:{server.port}/{other} keeps this user out of vhost {other}; give it permissions there"
    )


async def test_a_vhost_at_its_limit_of_connections(server: RabbitMQServer, vhost: str) -> None:
    server.api("PUT", f"vhost-limits/{vhost}/max-connections", {"value": 0})
    error = await failing(server.url_of(vhost))
    assert error.reason == "ConnectionLimit"
    assert error.message == f"RabbitMQ at 127.0.0.1:{server.port}/{vhost} is at its limit of connections; raise it"


async def test_a_user_that_may_only_enter_the_vhost_is_enough(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    channel.queue_declare("jobs")
    server.add_user("eve", PASSWORD, vhost, "management")
    nothing = {"configure": "^$", "write": "^$", "read": "^$"}
    server.api("PUT", f"permissions/{vhost}/eve", nothing)
    url = f"amqp://eve:{quoted()}@127.0.0.1:{server.port}/{vhost}"
    assert await once(rabbitmq_endpoint(url, server.management_url), queues("jobs")) == [Depth(0, 0)]


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
async def test_a_listener_that_never_answers(scheme: str) -> None:
    held = sockets()
    async with listening(silent) as port:
        started = time.monotonic()
        error = await failing(f"{scheme}://eve:{quoted()}@127.0.0.1:{port}/", SHORT)
        assert time.monotonic() - started < 2 * SHORT + 2
        assert error.reason == "Timeout"
        assert error.message == f"RabbitMQ at 127.0.0.1:{port}/ did not answer within {SHORT:g} s; {MEND}"
    await until(lambda: sockets() == held)


@pytest.mark.parametrize(
    "answer",
    [
        saying(always=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        saying(first=b"220 mail.example.com ESMTP\r\n"),
        saying(always=b"AMQP\x00\x01\x00\x00"),
        saying(always=b"\x01" * 64),
        saying(always=b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0a\xce"),
        saying(always=b"\x00" * 64),
    ],
    ids=["HTTP", "SMTP", "AMQP 1.0", "noise", "a broken frame", "zeroes"],
)
async def test_a_listener_that_is_no_rabbitmq(answer: Answer) -> None:
    """Whatever it says, the reader fails by a BrokerError, as the task that reads would end by any other."""
    async with listening(answer) as port:
        error = await failing(f"amqp://eve:{quoted()}@127.0.0.1:{port}/", 0.2)
    assert error.reason in ("BrokerFailure", "Timeout", "Unreachable")


async def test_a_listener_that_hangs_up() -> None:
    async def hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    async with listening(hang_up) as port:
        error = await failing(f"amqp://eve:{quoted()}@127.0.0.1:{port}/")
    assert error.reason in ("BrokerFailure", "Unreachable")


# -- a connection that is lost comes back --------------------------------------------------------------------------


async def recovered(reader: Reader, *names: str) -> None:
    """The reader reads again, by itself."""

    async def reads() -> bool:
        try:
            await reader.read(queues(*names))
        except BrokerError:
            return False
        return True

    await until(reads, 20)


async def test_a_connection_that_the_server_closed_is_opened_again_by_the_next_read(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    channel.queue_declare("jobs")
    endpoint = rabbitmq_endpoint(server.url_of(vhost))
    async with reading(endpoint) as reader, reading(endpoint) as idle:
        await reader.read(queues("jobs"))
        await idle.read([])
        held = sockets()
        await until(lambda: own_connections(server) == 2)
        for connection in server.api("GET", "connections"):
            if connection.get("vhost") == vhost:
                with contextlib.suppress(urllib.error.HTTPError):
                    server.api("DELETE", f"connections/{quote(connection['name'], safe='')}")
        await until(lambda: sockets() == held - 2)
        assert await reader.read(queues("jobs")) == [Depth(0)]
        assert await idle.read([]) == []
        assert sockets() == held


async def test_a_vhost_that_is_deleted_is_noticed_and_read_again_once_it_is_back(server: RabbitMQServer) -> None:
    vhost = server.add_vhost()
    async with reading(rabbitmq_endpoint(server.url_of(vhost))) as reader:
        await reader.read([])
        server.remove_vhost(vhost)

        async def gone() -> bool:
            try:
                await reader.read([])
            except BrokerError as error:
                return error.reason == "VhostMissing"
            return False

        await until(gone)
        server.add_vhost(vhost)
        await recovered(reader)
    server.remove_vhost(vhost)


async def test_a_server_that_stops_is_noticed_and_read_again_once_it_runs(server: RabbitMQServer, vhost: str) -> None:
    endpoint = rabbitmq_endpoint(server.url_of(vhost), server.management_url)
    async with reading(endpoint) as reader, reading(endpoint) as idle:
        await reader.read(queues("jobs"))
        await idle.read([])
        server.kill()
        assert (await failure(reader, queues("jobs"))).reason == "Unreachable"
        assert (await failure(idle, [])).reason == "Unreachable"
        await asyncio.to_thread(server.start)
        with connected(server.url_of(vhost)) as channel:
            channel.queue_declare("jobs")
            await recovered(reader, "jobs")
            await recovered(idle)
            assert await reader.read(queues("jobs")) == [Depth(0, 0)]


@pytest.mark.parametrize("count", [0, 1, 2000], ids=["nothing to read", "a queue to read", "many queues to read"])
async def test_a_frozen_server_costs_no_more_than_the_limit_and_is_read_again_after_it(
    server: RabbitMQServer, vhost: str, count: int
) -> None:
    names = [f"queue-{number}-{'x' * 200}" for number in range(count)]
    async with reading(rabbitmq_endpoint(server.url_of(vhost)), SHORT) as reader:
        await recovered(reader)
        held = sockets()
        await frozen(server, rabbitmq_endpoint(server.url_of(vhost)))
        for _ in range(3):
            started = time.monotonic()
            assert (await failure(reader, queues(*names))).reason == "Timeout"
            assert time.monotonic() - started < SHORT + 1.5
            await until(lambda: sockets() < held)
        server.thaw()
        await recovered(reader)


# -- nothing is left behind ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_words")
async def test_many_reads_leave_no_connection_behind(
    server: RabbitMQServer, vhost: str, channel: BlockingChannel
) -> None:
    channel.queue_declare("jobs")
    held = sockets()
    async with reading(rabbitmq_endpoint(server.url_of(vhost), server.management_url)) as reader:
        for _ in range(200):
            await reader.read(queues("jobs", "missing"))
            assert sockets() <= held + 2
    async with reading(rabbitmq_endpoint(f"amqp://eve:{quoted()}@127.0.0.1:{server.port}/{vhost}")) as reader:
        for _ in range(200):
            await failure(reader, queues("jobs"))
    await until(lambda: sockets() == held)
    await until(lambda: own_connections(server) == 0)


@pytest.mark.usefixtures("few_words")
async def test_readers_that_open_and_close_leave_no_connection_behind(server: RabbitMQServer, vhost: str) -> None:
    held = sockets()
    for _ in range(30):
        await once(rabbitmq_endpoint(server.url_of(vhost), server.management_url), queues("missing"))
    await until(lambda: sockets() == held)
    await until(lambda: own_connections(server) == 0)


async def test_a_blackholed_server_gathers_no_sockets(server: RabbitMQServer, vhost: str) -> None:
    held = sockets()
    await frozen(server, rabbitmq_endpoint(server.url_of(vhost)))
    async with reading(rabbitmq_endpoint(server.url_of(vhost)), 0.05) as reader:
        for _ in range(20):
            assert (await failure(reader, queues("jobs"))).reason == "Timeout"
            assert sockets() <= held + 1
    await until(lambda: sockets() == held)


async def test_a_read_that_is_cancelled_leaves_no_connection_behind(server: RabbitMQServer, vhost: str) -> None:
    held = sockets()
    await frozen(server, rabbitmq_endpoint(server.url_of(vhost)))
    for _ in range(10):
        async with reading(rabbitmq_endpoint(server.url_of(vhost))) as reader:
            task = asyncio.create_task(reader.read(queues("jobs")))
            await until(lambda: sockets() > held)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        await until(lambda: sockets() == held)


async def test_closing_twice_and_closing_unopened_is_nothing(server: RabbitMQServer, vhost: str) -> None:
    async with reading(rabbitmq_endpoint(server.url_of(vhost), server.management_url)) as reader:
        await reader.close()
        await reader.read(queues("missing"))
        await reader.close()
        await reader.close()


async def test_an_event_loop_is_never_told_of_an_exception_that_nobody_caught(
    server: RabbitMQServer, vhost: str
) -> None:
    """Such as one in a callback, or of a future that nobody awaits any more."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    await frozen(server, rabbitmq_endpoint(server.url_of(vhost)))
    async with reading(rabbitmq_endpoint(server.url_of(vhost)), 0.05) as reader:
        for _ in range(5):
            await failure(reader, queues(*(f"q{number}" for number in range(100))))
    server.thaw()
    async with reading(rabbitmq_endpoint(server.url_of(vhost))) as reader:
        await recovered(reader)
        await frozen(server, rabbitmq_endpoint(server.url_of(vhost)))
        task = asyncio.create_task(reader.read(queues(*(f"q{number}" for number in range(100)))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await reader.close()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], BrokerError)
    assert told == []
