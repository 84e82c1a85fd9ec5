"""Names from jobs never leave the root, and outputs appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workerpool_worker.errors import JobError, PermanentError, TemporaryError
from workerpool_worker.storage import DirectoryStorage
from workerpool_worker.storage.directory import UNFINISHED


@pytest.fixture
def directory(storage: Path) -> DirectoryStorage:
    return DirectoryStorage(storage, stale_seconds=60)


async def read(directory: DirectoryStorage, name: str) -> bytes:
    async with directory.reading(name) as source:
        return source.path.read_bytes()


async def write(directory: DirectoryStorage, name: str, content: bytes) -> None:
    async with directory.writing(name) as target:
        target.path.write_bytes(content)


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


async def test_an_output_appears_in_a_new_folder_with_usual_rights(directory: DirectoryStorage, storage: Path) -> None:
    await write(directory, "a/b/c.txt", b"x")
    assert everything(storage) == ["a", "a/b", "a/b/c.txt"]
    assert await read(directory, "a/b/c.txt") == b"x"
    umask = os.umask(0)
    os.umask(umask)
    assert (storage / "a/b/c.txt").stat().st_mode & 0o777 == 0o666 & ~umask


async def test_an_unfinished_output_is_invisible_and_a_failed_one_leaves_nothing(
    directory: DirectoryStorage, storage: Path
) -> None:
    (storage / "out.txt").write_text("old")
    with contextlib.suppress(ZeroDivisionError):
        async with directory.writing("out.txt") as target:
            target.path.write_text("half")
            assert (storage / "out.txt").read_text() == "old"
            raise ZeroDivisionError
    assert everything(storage) == ["out.txt"]
    assert (storage / "out.txt").read_text() == "old"


async def test_what_killed_workers_left_is_removed_and_what_others_write_is_not(
    directory: DirectoryStorage, storage: Path
) -> None:
    unfinished = storage / UNFINISHED
    unfinished.mkdir()
    (unfinished / "left").write_text("x")
    (unfinished / "others").write_text("x")
    long_ago = time.time() - 100
    os.utime(unfinished / "left", (long_ago, long_ago))
    await write(directory, "out.txt", b"x")
    assert everything(storage) == [UNFINISHED, f"{UNFINISHED}/others", "out.txt"]


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/passwd", "..", ".", "", "a/", f"{UNFINISHED}/x", "a\0b", "x" * 300, "in.txt/x"],
)
async def test_a_bad_name_is_refused_for_good(directory: DirectoryStorage, storage: Path, name: str) -> None:
    (storage / "in.txt").write_text("x")
    with pytest.raises(PermanentError):
        await read(directory, name)
    with pytest.raises(PermanentError):
        await write(directory, name, b"x")
    assert everything(storage) == ["in.txt"]


async def test_a_missing_input_and_a_folder_are_refused_for_good(directory: DirectoryStorage, storage: Path) -> None:
    (storage / "folder").mkdir()
    with pytest.raises(PermanentError, match="not in the storage"):
        await read(directory, "missing.txt")
    with pytest.raises(PermanentError, match="not a file"):
        await read(directory, "folder")
    with pytest.raises(PermanentError, match="is a folder"):
        await write(directory, "folder", b"x")


async def test_symbolic_links_do_not_lead_out(directory: DirectoryStorage, storage: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (storage / "file").symlink_to(outside / "secret.txt")
    (storage / "folder").symlink_to(outside)
    (storage / "dangling").symlink_to(outside / "new")
    (storage / "circle").symlink_to(storage / "circle")
    for name in ("file", "folder/secret.txt", "circle"):
        with pytest.raises(PermanentError):
            await read(directory, name)
    for name in ("folder/new.txt", "dangling/new.txt"):
        with pytest.raises(PermanentError):
            await write(directory, name, b"x")
    await write(directory, "file", b"mine")
    assert everything(outside) == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == "secret"
    assert not (storage / "file").is_symlink()


async def test_symbolic_links_within_and_a_linked_root_are_fine(storage: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(storage)
    directory = DirectoryStorage(tmp_path / "link", stale_seconds=60)
    (storage / "in.txt").write_text("x")
    (storage / "alias.txt").symlink_to(storage / "in.txt")
    assert await read(directory, "alias.txt") == b"x"


async def test_a_named_pipe_does_not_hang(directory: DirectoryStorage, storage: Path) -> None:
    os.mkfifo(storage / "pipe")
    with pytest.raises(PermanentError, match="not a file"):
        await read(directory, "pipe")


async def test_a_storage_that_is_not_mounted_is_temporary(tmp_path: Path) -> None:
    directory = DirectoryStorage(tmp_path / "nowhere", stale_seconds=60)
    with pytest.raises(TemporaryError, match="WORKER_STORAGE_DIR"):
        await read(directory, "x")


async def test_parallel_outputs_of_one_name_end_as_one_of_them(directory: DirectoryStorage, storage: Path) -> None:
    seen: set[bytes] = set()
    stop = threading.Event()
    await write(directory, "out", b"0" * 10_000)

    def watch() -> None:
        while not stop.is_set():
            seen.add((storage / "out").read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(50):
        await write(directory, "out", str(number % 10).encode() * 10_000)
    stop.set()
    watcher.join()
    assert all(len(content) == 10_000 and len(set(content)) == 1 for content in seen)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(name=st.text(alphabet=st.sampled_from("a./\\~ %\0\n.."), max_size=12))
async def test_no_name_writes_outside_the_root(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    outer = tmp_path_factory.mktemp("outer")
    (outer / "root").mkdir()
    with contextlib.suppress(JobError):
        await write(DirectoryStorage(outer / "root", stale_seconds=60), name, b"x")
    assert [path.name for path in outer.iterdir()] == ["root"]
