"""Fixtures of the worker's tests: workers as real processes, a storage folder, media made by FFmpeg and libvips."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import pyvips

from tests.worker.harness import StartWorker, Workers


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The root of a storage."""
    root = tmp_path / "storage"
    root.mkdir()
    return root


@pytest.fixture
def start_worker(storage: Path) -> Iterator[StartWorker]:
    """Starts worker processes on the storage; those that still run are killed after the test."""
    with Workers(storage) as workers:
        yield workers.start


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clip.mkv (2 s, 321x241 so odd sides, sound), photo.jpg (80x40, EXIF: turned), art.png (alpha)."""
    folder = tmp_path_factory.mktemp("media")
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=321x241:rate=15:duration=2"),
            *("-f", "lavfi", "-i", "sine=duration=2", "-c:v", "ffv1", "-c:a", "flac", str(folder / "clip.mkv")),
        ],
        check=True,
    )
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-i", str(folder / "clip.mkv"), "-pix_fmt", "yuv420p", "-vf", "scale=320:240"),
            *("-c:v", "libx264", "-g", "5", "-movflags", "+faststart", str(folder / "clip.mp4")),
        ],
        check=True,
    )
    photo = pyvips.Image.black(80, 40, bands=3).linear(1, [200, 30, 30]).cast("uchar").copy(interpretation="srgb")
    photo.set_type(pyvips.GValue.gint_type, "orientation", 6)
    maker = "SecretCamera (SecretCamera, ASCII, 13 components, 13 bytes)"
    photo.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Make", maker)
    photo.jpegsave(str(folder / "photo.jpg"))
    art = photo.copy().bandjoin(128)
    art.pngsave(str(folder / "art.png"), keep="none")
    return folder
