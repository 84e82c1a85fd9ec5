"""Storage in a directory: a volume, an NFS mount, a folder.

In: names relative to the root. Out: files that provably lie under the root, symbolic links included, and
outputs that appear by one rename. Unfinished outputs lie in ``.workerpool`` beside their goal, so that the
rename stays within a file system; those that killed workers left there are removed by the next output.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path, PurePosixPath

from workerpool_worker.errors import PermanentError, TemporaryError
from workerpool_worker.storage.base import Source, Target

UNFINISHED = ".workerpool"
_WRONG_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.EEXIST)


class DirectoryStorage:
    """Files under one root.

    Args:
        root: The directory; it may itself be a symbolic link.
        stale_seconds: Age after which an unfinished output belongs to no living attempt.
    """

    def __init__(self, root: Path, *, stale_seconds: float) -> None:
        self._root = root
        self._stale_seconds = stale_seconds

    def reading(self, name: str) -> AbstractAsyncContextManager[Source]:
        """See Storage."""
        return self._reading(name)

    def writing(self, name: str) -> AbstractAsyncContextManager[Target]:
        """See Storage."""
        return self._writing(name)

    @asynccontextmanager
    async def _reading(self, name: str) -> AsyncIterator[Source]:
        source = await asyncio.to_thread(self._open, name)
        try:
            yield source
        finally:
            os.close(source.descriptor)

    @asynccontextmanager
    async def _writing(self, name: str) -> AsyncIterator[Target]:
        unfinished, goal = await asyncio.to_thread(self._begin, name)
        try:
            yield Target(name, unfinished)
            await asyncio.to_thread(self._publish, name, unfinished, goal)
        finally:
            _discard(unfinished)

    def _open(self, name: str) -> Source:
        path = self._locate(name)
        with _explained(name):
            # O_NONBLOCK: opening a named pipe must not wait for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Judged by what was really opened, so that a link changed meanwhile makes no difference.
            opened = Path(f"/proc/self/fd/{descriptor}")
            self._confine(name, opened.readlink())
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise PermanentError(f"{name!r} is not a file: name a regular file of the storage")
        except BaseException:
            os.close(descriptor)
            raise
        return Source(name, opened, descriptor, found.st_size)

    def _begin(self, name: str) -> tuple[Path, Path]:
        path = self._locate(name)
        with _explained(name):
            folder = path.parent.resolve()
            self._confine(name, folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._confine(name, folder.resolve(strict=True))
            goal = folder / path.name
            if goal.is_dir():
                raise PermanentError(f"output {name!r} is a folder: name a file")
            self._remove_stale(folder / UNFINISHED)
            return _create(folder / UNFINISHED), goal

    def _publish(self, name: str, unfinished: Path, goal: Path) -> None:
        with _explained(name):
            _sync(unfinished)
            unfinished.replace(goal)
            _sync(goal.parent)

    def _locate(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or name.endswith("/") or "\0" in name:
            raise PermanentError(f"{name!r} is not the name of a file in the storage")
        if name.startswith("/") or ".." in parts:
            raise PermanentError(f"{name!r} leaves the storage: name a path below its root, without '..'")
        if UNFINISHED in parts:
            raise PermanentError(f"{name!r}: {UNFINISHED} is kept for unfinished outputs")
        root = self._real_root()
        return root.joinpath(*parts)

    def _confine(self, name: str, real: Path) -> None:
        if not real.is_relative_to(self._real_root()):
            raise PermanentError(f"{name!r} leaves the storage through a symbolic link")

    def _real_root(self) -> Path:
        try:
            return self._root.resolve(strict=True)
        except OSError as error:
            raise TemporaryError(
                f"storage {self._root}: {error.strerror}: mount it there, or mend WORKER_STORAGE_DIR"
            ) from error

    def _remove_stale(self, folder: Path) -> None:
        oldest = time.time() - self._stale_seconds
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(folder):
                if entry.stat(follow_symlinks=False).st_mtime < oldest:
                    Path(entry.path).unlink(missing_ok=True)


def _create(folder: Path) -> Path:
    """Make an empty file with the usual rights in ``folder``, which another attempt may be removing."""
    while True:
        folder.mkdir(exist_ok=True)
        path = folder / uuid.uuid4().hex
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            return path


def _discard(unfinished: Path) -> None:
    unfinished.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others are in it, or one of them has removed it
        unfinished.parent.rmdir()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn an OSError into the job error that it means."""
    try:
        yield
    except FileNotFoundError as error:
        raise PermanentError(f"{name!r} is not in the storage") from error
    except OSError as error:
        kind = PermanentError if error.errno in _WRONG_NAME else TemporaryError
        raise kind(f"{name!r}: {error.strerror}") from error
    except ValueError as error:
        raise PermanentError(f"{name!r} cannot be a file's name: {error}") from error
    except RuntimeError as error:  # pathlib reports loops of symbolic links so
        raise PermanentError(f"{name!r}: symbolic links in a circle") from error
