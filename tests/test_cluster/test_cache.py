"""The cache gives finished artefacts only, each built once, whatever happens while it is built."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.cache import artefacts, cache_dir, digest


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKERPOOL_CACHE", str(tmp_path))
    return tmp_path


def half(missing: list[str], workshop: Path) -> None:
    (workshop / missing[0]).mkdir()
    (workshop / missing[0] / "tool").write_text("half")
    raise RuntimeError("the compiler died")


def whole(missing: list[str], workshop: Path) -> None:
    for key in missing:
        (workshop / key).mkdir()
        (workshop / key / "tool").write_text("whole")


def test_a_build_that_breaks_half_way_is_not_taken_and_leaves_nothing(own_cache: Path) -> None:
    with pytest.raises(RuntimeError, match="compiler died"):
        artefacts("tools", ["a"], half)

    assert list((own_cache / "tools").iterdir()) == []
    assert (artefacts("tools", ["a"], whole)["a"] / "tool").read_text() == "whole"


def test_what_a_killed_build_left_is_cleared_away(own_cache: Path) -> None:
    unfinished = own_cache / "tools" / ".building-killed" / "a"
    unfinished.mkdir(parents=True)

    artefacts("tools", ["a"], whole)

    assert [path.name for path in (own_cache / "tools").iterdir()] == ["a"]


def test_only_what_is_missing_is_built() -> None:
    asked: list[list[str]] = []

    def build(missing: list[str], workshop: Path) -> None:
        asked.append(missing)
        whole(missing, workshop)

    for keys in (["a"], ["a", "b"], ["b", "a"]):
        artefacts("tools", keys, build)

    assert asked == [["a"], ["b"]]


def test_parallel_runs_build_once() -> None:
    asked: list[list[str]] = []

    def build(missing: list[str], workshop: Path) -> None:
        asked.append(missing)
        whole(missing, workshop)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: artefacts("tools", ["a"], build), range(8)))

    assert asked == [["a"]]


def test_the_cache_is_where_xdg_says_unless_named(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    assert cache_dir() == own_cache
    monkeypatch.delenv("WORKERPOOL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir() == Path("/xdg/workerpool-operator")


def test_a_digest_tells_apart_what_only_the_borders_tell_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
