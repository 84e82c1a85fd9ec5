"""The cache outside the tree: built tools, images and the state of running clusters, safe for parallel runs.

A key and a build function come in, the finished folder goes out. A build works in a folder of its own which is
renamed when it is complete, so that one which breaks half-way is never taken for good.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """Returns the cache folder: `$WORKERPOOL_CACHE`, or a folder of ours where XDG says that caches are."""
    named = os.environ.get("WORKERPOOL_CACHE")
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "workerpool-operator"


def digest(*parts: bytes | str) -> str:
    """Returns twelve hex digits that stand for all of `parts`."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:12]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds the machine-wide lock `name`; waits for it while another process has it."""
    path = cache_dir() / "locks" / re.sub(r"[^A-Za-z0-9.-]+", "_", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def artefacts(kind: str, keys: Iterable[str], build: Callable[[list[str], Path], None]) -> dict[str, Path]:
    """Returns the folder of each artefact, building those that are not there yet.

    Args:
        kind: what they are, say `tools-etcd`: one kind is built by one process at a time.
        keys: one for each artefact; a key names all that the artefact depends on.
        build: gets the keys that are missing and an empty folder, in which it makes a folder for each of them.
    """
    home = cache_dir() / kind
    folders = {key: home / key for key in keys}
    if all(folder.exists() for folder in folders.values()):
        return folders
    with locked(kind):
        missing = [key for key, folder in folders.items() if not folder.exists()]
        home.mkdir(parents=True, exist_ok=True)
        for unfinished in home.glob(".building-*"):  # left by a build that was killed: we hold its lock
            shutil.rmtree(unfinished)
        if missing:
            workshop = Path(tempfile.mkdtemp(prefix=".building-", dir=home))
            try:
                build(missing, workshop)
                for key in missing:
                    (workshop / key).rename(folders[key])
            finally:
                shutil.rmtree(workshop, ignore_errors=True)
    return folders
