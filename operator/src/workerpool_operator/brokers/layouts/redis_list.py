"""A Redis LIST, one job an element, with the companion keys of this project's worker image where they are.

For a list K with companions at P (K itself if it holds a hash tag `{...}`, else `{K}`, so that all share a slot):
`P:layout` says that the companions count; `P:active` ZSET holds claims; `P:delayed` ZSET holds retries by due time
in milliseconds. Without `P:layout` what is in flight is unknown: a plain list does not tell.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from workerpool_operator.api import Depth

_HASH_TAG = re.compile(r"\{[^}]+\}")


def companion_prefix(key: str) -> str:
    """What stands before `:active` and the like for the list at `key`; in the same cluster slot as the key."""
    return key if _HASH_TAG.search(key) else "{" + key + "}"


@dataclass(frozen=True, slots=True)
class RedisListLayout:
    """The list at `key`."""

    key: str

    lua_name: ClassVar[str] = "list"
    lua: ClassVar[str] = """
    function(key, prefix, now)
      local waiting = redis.call('LLEN', key)
      if redis.call('EXISTS', prefix .. ':layout') == 0 then return {waiting, -1, -1} end
      local delayed = prefix .. ':delayed'
      local due = redis.call('ZCOUNT', delayed, '-inf', now)
      return {waiting + due, redis.call('ZCARD', prefix .. ':active'), redis.call('ZCARD', delayed) - due}
    end"""

    def describe(self) -> str:
        """The queue for a message."""
        return f"list {self.key}"

    def lua_arguments(self) -> tuple[str, str]:
        """What the Lua function gets besides the time in milliseconds."""
        return self.key, companion_prefix(self.key)

    def key_patterns(self) -> str:
        """The keys that it reads, as ACL rules."""
        return f"~{self.key} ~{companion_prefix(self.key)}:*"

    def depth(self, answer: list[int]) -> Depth:
        """The depth out of the Lua function's answer, in which -1 stands for unknown."""
        waiting, in_flight, delayed = (None if count < 0 else count for count in answer)
        return Depth(waiting, in_flight, delayed)
