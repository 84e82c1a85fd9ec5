"""What every reader of a broker has in common.

Comes in: nothing. Goes out: the protocols `Endpoint`, `Layout` and `Reader`, and the one error of this room.
"""

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from workerpool_operator.api import Depth, Unreadable


class BrokerError(Exception):
    """No queue of a broker can be read.

    Attributes:
        reason: one CamelCase word, as a condition's reason.
        message: one sentence that tells the mend; never holds a credential.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def as_reading(self) -> Unreadable:
        """The same, as the reading of each queue."""
        return Unreadable(self.reason, self.message, whole_broker=True)

    @property
    def wants_new_credentials(self) -> bool:
        """Whether reading the Secret again may mend it."""
        return self.reason == AUTHENTICATION_FAILED


AUTHENTICATION_FAILED = "AuthenticationFailed"
MEND = "see that it runs, that host and port are right, and that the network lets us through"


def system_words(error: OSError) -> str:
    """The system's own words for a failed connection: `Connection refused`."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


class Layout(Hashable, Protocol):
    """Where one queue keeps its jobs in its broker."""

    def describe(self) -> str:
        """The queue for a message: `list video`."""
        ...


class Endpoint(Hashable, Protocol):
    """A connection to one broker with one set of credentials; equal ones share a reader. Its repr holds no secret."""

    def address(self) -> str:
        """host:port, for messages and metrics."""
        ...


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server said of itself when it was connected to."""

    version: str


class Reader(Protocol):
    """Reads the queues of one broker over one connection, which it opens when needed and opens again when lost."""

    @property
    def server(self) -> ServerInfo | None:
        """Of the present connection; None while there is none."""
        ...

    async def read(self, layouts: Sequence[Layout]) -> list[Depth | Unreadable]:
        """The depth of each queue, in order.

        Raises:
            BrokerError: the broker cannot be read at all. The next call connects again.
        """
        ...

    async def close(self) -> None:
        """Let go of the connection, at once, also where the broker hangs."""
        ...
