"""Reads all queues of one Redis server in one Lua call for each thousand of them.

Comes in: an endpoint and layouts. Goes out: their depths. A key that fails (WRONGTYPE) fails alone. One connection,
opened when needed, dropped after any failure of the whole call.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from workerpool_operator.api import Depth, Unreadable
from workerpool_operator.brokers.base import AUTHENTICATION_FAILED, BrokerError, Layout, ServerInfo
from workerpool_operator.brokers.endpoint import RedisEndpoint
from workerpool_operator.brokers.layouts.redis_list import RedisListLayout

# One call blocks the server for all other clients: about 2 ms for a thousand lists.
_KEYS_A_CALL = 1000


class RedisLayout(Layout, Protocol):
    """A layout that a Lua function reads."""

    lua_name: str
    lua: str

    def lua_arguments(self) -> tuple[str, str]:
        """Key and prefix for the Lua function."""
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
                for first in range(0, len(redis_layouts), _KEYS_A_CALL):
                    depths += await _evaluate(client, self._sha, redis_layouts[first : first + _KEYS_A_CALL])
                return depths
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            await self.close()
            raise self._broker_error(error) from None

    async def _connect(self) -> Redis:
        # The client is kept before its first call: a failure then closes it.
        client = self._client = _client(self._endpoint.url, self._timeout)
        info = await client.info("server")
        self._sha = await client.script_load(_script())
        self.server = ServerInfo(f"Redis {info.get('redis_version', 'unknown')}")
        return client

    async def close(self) -> None:
        """Let go of the connection."""
        client, self._client, self.server = self._client, None, None
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
                return BrokerError(
                    "PermissionDenied",
                    f"Redis at {address} denies a command to this user; allow +eval +evalsha +script|load +info +time "
                    "and the reading of the keys",
                )
            case TimeoutError() | exceptions.TimeoutError():
                return BrokerError("Timeout", f"Redis at {address} did not answer within {self._timeout:g} s")
            case exceptions.ConnectionError() | OSError():
                return BrokerError("Unreachable", f"Redis at {address} cannot be reached: {_cause(error)}")
            case _:
                return BrokerError("BrokerFailure", f"Redis at {address} answered: {error}")


def _client(url: str, timeout: float) -> Redis:
    try:
        return Redis.from_url(
            url,
            single_connection_client=True,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            client_name="workerpool-operator",
        )
    except ValueError:
        # The library's message may quote the URL.
        raise BrokerError("InvalidURL", "the Redis URL has an option or database that cannot be used") from None


def _cause(error: Exception) -> str:
    """The system's words for a failed connection, which redis-py wraps."""
    cause = error.__cause__ or error.__context__ or error
    return getattr(cause, "strerror", None) or str(error)


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
    if "NOPERM" in text:
        return Unreadable(
            "PermissionDenied", f"{layout.describe()} may not be read by this user; allow its key pattern"
        )
    return Unreadable("ReadFailed", f"{layout.describe()}: {text}")
