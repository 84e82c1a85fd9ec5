"""Reads all queues of one Redis server in one Lua call for each thousand of them.

Comes in: an endpoint and layouts. Goes out: their depths. A key that fails (WRONGTYPE) fails alone. One connection,
opened when needed, dropped after any failure of the whole call.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from workerpool_operator.api import Depth, Unreadable
from workerpool_operator.brokers.base import AUTHENTICATION_FAILED, MEND, BrokerError, Layout, ServerInfo, system_words
from workerpool_operator.brokers.endpoint import RedisEndpoint
from workerpool_operator.brokers.layouts.redis_list import RedisListLayout

# One call blocks the server for all other clients: about 2 ms for a thousand lists.
_KEYS_A_CALL = 1000
_COMMANDS = "+select +script|load +evalsha +eval +time +llen +exists +zcard +zcount"
_LONGEST_QUOTE = 200


class RedisLayout(Layout, Protocol):
    """A layout that a Lua function reads."""

    lua_name: str
    lua: str

    def lua_arguments(self) -> tuple[str, str]:
        """Key and prefix for the Lua function."""
        ...

    def key_patterns(self) -> str:
        """The keys that it reads, as ACL rules."""
        ...

    def depth(self, answer: list[int]) -> Depth:
        """The depth out of the Lua function's answer."""
        ...


_LAYOUTS: tuple[type[RedisListLayout], ...] = (RedisListLayout,)


def _script() -> str:
    """The Lua script: ARGV holds name, key and prefix of each queue; the answer holds counts or an error for each."""
    functions = ",".join(f"\n  {layout.lua_name} = {layout.lua}" for layout in _LAYOUTS)
    return (
        f"local layouts = {{{functions}\n}}\n"
        "local time = redis.call('TIME')\n"
        "local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))\n"
        "local answers = {}\n"
        "for i = 1, #ARGV, 3 do\n"
        "  local ok, answer = pcall(layouts[ARGV[i]], ARGV[i + 1], ARGV[i + 2], now)\n"
        # Redis 7 raises a table with the text in `err`, older ones raise the text.
        "  if not ok then answer = type(answer) == 'table' and answer.err or tostring(answer) end\n"
        "  answers[#answers + 1] = answer\n"
        "end\n"
        "return answers\n"
    )


class RedisReader:
    """A `Reader` of one Redis server."""

    def __init__(self, endpoint: RedisEndpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._client: Redis | None = None
        self._sha = ""
        self._transport: asyncio.WriteTransport | None = None
        self.server: ServerInfo | None = None

    async def read(self, layouts: Sequence[Layout]) -> list[Depth | Unreadable]:
        """The depth of each queue, in order.

        Raises:
            BrokerError: the server cannot be read at all.
        """
        try:
            async with asyncio.timeout(self._timeout):
                client = self._client or await self._connect()
                redis_layouts = cast("Sequence[RedisLayout]", layouts)
                depths: list[Depth | Unreadable] = []
                # Without queues one call all the same: that is how a loss is noticed.
                for first in range(0, max(1, len(redis_layouts)), _KEYS_A_CALL):
                    depths += await _evaluate(client, self._sha, redis_layouts[first : first + _KEYS_A_CALL])
                return depths
        except Exception as error:  # noqa: BLE001
            # Any: what is no Redis may answer anything, and the library then fails in any way.
            await self.close()
            raise self._broker_error(error) from None

    async def _connect(self) -> Redis:
        # The client is kept before its first call: a failure then closes it.
        client = self._client = _client(self._endpoint, self._timeout)
        self._sha = await client.script_load(_script())
        if client.connection is not None and client.connection._writer is not None:
            self._transport = client.connection._writer.transport
        version = "unknown"
        with contextlib.suppress(exceptions.ResponseError):
            # What is nice to have must not need a permission.
            version = (await client.info("server")).get("redis_version", version)
            await client.client_setname("workerpool-operator")
        self.server = ServerInfo(f"Redis {version}")
        return client

    async def close(self) -> None:
        """Let go of the connection, at once, also where the server hangs."""
        client, self._client, self.server = self._client, None, None
        transport, self._transport = self._transport, None
        if transport is not None:
            # Closing would wait until a server that hangs has taken what is still to be sent. The library forgets a
            # connection that was cut short, so it is kept here.
            transport.abort()
        if client is not None:
            await client.aclose()

    def _broker_error(self, error: Exception) -> BrokerError:
        address = self._endpoint.address()
        match error:
            case exceptions.AuthenticationError():
                return BrokerError(
                    AUTHENTICATION_FAILED,
                    f"Redis at {address} refused the user or password; correct the URL or its Secret",
                )
            case exceptions.NoPermissionError():
                return self._permission_denied()
            case TimeoutError() | exceptions.TimeoutError():
                return BrokerError("Timeout", f"Redis at {address} did not answer within {self._timeout:g} s; {MEND}")
            case exceptions.ConnectionError() | OSError():
                message = f"Redis at {address} cannot be reached: {self._safe(_cause(error))}; {MEND}"
                return BrokerError("Unreachable", message)
            case exceptions.ResponseError() if _denied(str(error)):
                return self._permission_denied()
            case exceptions.ResponseError() if "DB index" in str(error):
                message = f"Redis at {address} has no database {self._endpoint.database}; correct the end of the URL"
                return BrokerError("DatabaseMissing", message)
            case exceptions.RedisError():
                return BrokerError("BrokerFailure", f"Redis at {address} answered: {self._safe(str(error))}")
            case _:
                message = f"what answers at {address} does not speak as Redis does; check host and port"
                return BrokerError("BrokerFailure", message)

    def _permission_denied(self) -> BrokerError:
        return BrokerError(
            "PermissionDenied",
            f"Redis at {self._endpoint.address()} denies a command to this user; allow {_COMMANDS} and the reading of "
            "the keys",
        )

    def _safe(self, text: str) -> str:
        """A server's words without our password: some repeat the command that they did not understand."""
        text = text.partition(", with args beginning")[0]
        for secret in self._endpoint.user:
            text = text.replace(secret, "***") if secret else text
        return text[:_LONGEST_QUOTE]


def _client(endpoint: RedisEndpoint, timeout: float) -> Redis:
    user, password = endpoint.user
    return Redis(
        host=endpoint.host,
        port=endpoint.port,
        db=endpoint.database,
        username=user,
        password=password,
        ssl=endpoint.tls,
        ssl_cert_reqs="required" if endpoint.verify else "none",
        ssl_check_hostname=endpoint.verify,
        protocol=2,
        single_connection_client=True,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )


def _cause(error: Exception) -> str:
    """Why a connection failed, which redis-py wraps."""
    cause = error.__cause__ or error.__context__
    return system_words(cause) if isinstance(cause, OSError) else str(error).rstrip(".")


def _denied(text: str) -> bool:
    """Whether a script's error is about permissions; Redis 6 and 7.0 do not say NOPERM there."""
    return any(words in text for words in ("NOPERM", "ACL failure", "executing the script can't"))


async def _evaluate(client: Redis, sha: str, layouts: Sequence[RedisLayout]) -> list[Depth | Unreadable]:
    """One Lua call for these queues."""
    arguments = [word for layout in layouts for word in (layout.lua_name, *layout.lua_arguments())]
    try:
        answers = await client.evalsha(sha, 0, *arguments)
    except exceptions.NoScriptError:
        # SCRIPT FLUSH, or a failover to a server that has not seen the script.
        answers = await client.eval(_script(), 0, *arguments)
    return [_reading(layout, answer) for layout, answer in zip(layouts, answers, strict=True)]


def _reading(layout: RedisLayout, answer: list[int] | bytes) -> Depth | Unreadable:
    if isinstance(answer, list):
        return layout.depth(answer)
    text = answer.decode("utf-8", "replace")
    if "WRONGTYPE" in text:
        return Unreadable("WrongType", f"{layout.describe()} holds another type of value; name a key of the right type")
    if _denied(text):
        return Unreadable(
            "PermissionDenied",
            f"{layout.describe()} may not be read by this user; allow {_COMMANDS} and the keys {layout.key_patterns()}",
        )
    return Unreadable("ReadFailed", f"{layout.describe()}: {text[:_LONGEST_QUOTE]}")
