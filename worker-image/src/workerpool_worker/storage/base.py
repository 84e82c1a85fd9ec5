"""What jobs know of storage.

In: names from jobs, relative with slashes, not trusted. Out: a local file to read, or a local file to write
that becomes visible under its name only when it is complete.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Source:
    """An input, open.

    Attributes:
        name: Its name in the storage.
        path: Where a program that inherits ``descriptor`` can read it.
        descriptor: The open file, at its beginning.
        size: Bytes.
    """

    name: str
    path: Path
    descriptor: int
    size: int


@dataclass(frozen=True, slots=True)
class Target:
    """An output in the making; ``path`` is the local, still invisible file to write."""

    name: str
    path: Path


class Storage(Protocol):
    """A place for inputs and outputs."""

    def reading(self, name: str) -> AbstractAsyncContextManager[Source]:
        """Open an input.

        Raises (on entering):
            PermanentError: The name leaves the storage, or there is no such file.
            TemporaryError: The storage cannot be read now.
        """

    def writing(self, name: str) -> AbstractAsyncContextManager[Target]:
        """Make an output: leaving without an error publishes it in one step, over what had its name.

        Raises:
            PermanentError: The name leaves the storage, or cannot be a file.
            TemporaryError: The storage cannot be written now.
        """
