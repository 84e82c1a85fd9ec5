"""Images built without Docker hold what their Dockerfile says, and nothing of the machine that built them.

Collected only where a native cluster can run at all, which conftest.py decides.
"""

import io
import tarfile
from pathlib import Path

import pytest

from tests.cluster import ClusterError
from tests.cluster.native.images import image_archive

pytestmark = pytest.mark.pods

DOCKERFILE = """\
FROM debian:bookworm-slim AS build
RUN cat /etc/apt/sources.list /etc/pip.conf >/seen && test -s /seen && echo built >/word
FROM debian:bookworm-slim
COPY --from=build /word /word
COPY file /file
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "file").write_text("copied\n")
    return tmp_path


def contents(archive: Path) -> dict[str, bytes]:
    """The files of all layers of an image, the upper over the lower."""
    files: dict[str, bytes] = {}
    with tarfile.open(archive) as image:
        for layer in (entry for entry in image if entry.isfile() and entry.name.endswith(".tar")):
            data = image.extractfile(layer)
            assert data
            with tarfile.open(fileobj=io.BytesIO(data.read())) as tar:
                for entry in (entry for entry in tar if entry.isfile()):
                    content = tar.extractfile(entry)
                    assert content
                    files[entry.name.removeprefix("./")] = content.read()
    return files


def test_an_image_holds_what_was_built_and_nothing_of_the_machine(context: Path) -> None:
    archive = image_archive("workerpool-selftest:test", context / "Dockerfile", context)

    files = contents(archive)
    assert (files["word"], files["file"]) == (b"built\n", b"copied\n")
    own = ("etc/apt/sources.list", "etc/apt/apt.conf", "etc/pip.conf", "etc/resolv.conf", "etc/hosts")
    assert {name: files.get(name, b"") for name in own} == dict.fromkeys(own, b"")
    assert files.get("run/machine/ca.crt", b"") == b""


def test_the_same_content_is_built_once(context: Path) -> None:
    first = image_archive("workerpool-selftest:test", context / "Dockerfile", context)
    made = first.stat().st_mtime_ns

    assert image_archive("workerpool-selftest:test", context / "Dockerfile", context) == first
    assert first.stat().st_mtime_ns == made


def test_a_build_that_fails_says_what_it_said(context: Path) -> None:
    (context / "Dockerfile").write_text("FROM debian:bookworm-slim\nRUN echo out of luck; exit 7\n")

    with pytest.raises(ClusterError, match=r"(?s)out of luck.*exit status 7"):
        image_archive("workerpool-selftest:test", context / "Dockerfile", context)
