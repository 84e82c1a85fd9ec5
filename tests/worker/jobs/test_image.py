"""Real images by libvips: sizes, formats, upright, without metadata; and images that attack."""

from __future__ import annotations

import dataclasses
import shutil
import struct
import zlib
from pathlib import Path

import pytest
import pyvips

from tests.worker.jobs.running import LIMITS, Performer, names_in
from workerpool_worker.errors import PermanentError


@pytest.fixture
def perform(storage: Path, media: Path) -> Performer:
    for name in ("photo.jpg", "art.png"):
        shutil.copy(media / name, storage)
    return Performer(storage)


def opened(path: Path) -> pyvips.Image:
    return pyvips.Image.new_from_file(str(path))


@pytest.mark.parametrize(
    ("options", "size"),
    [
        # photo.jpg is 80x40 and turned by its EXIF orientation: upright it is 40x80.
        ({"width": 20}, (20, 40)),
        ({"height": 20}, (10, 20)),
        ({"width": 20, "height": 20}, (10, 20)),
        ({"width": 20, "height": 20, "fit": "cover"}, (20, 20)),
        ({"width": 20, "height": 20, "fit": "fill"}, (20, 20)),
        ({"width": 400}, (400, 800)),
        ({"width": 400, "enlarge": False}, (40, 80)),
    ],
)
async def test_resize(perform: Performer, storage: Path, options: dict[str, object], size: tuple[int, int]) -> None:
    await perform(kind="image.resize", input="photo.jpg", output="out.jpg", **options)
    picture = opened(storage / "out.jpg")
    assert (picture.width, picture.height) == size


@pytest.mark.parametrize(
    ("to", "name", "loader"),
    [
        ("jpeg", "o.jpg", "jpegload"),
        ("png", "o.png", "pngload"),
        ("webp", "o.webp", "webpload"),
        ("avif", "o.avif", "heifload"),
    ],
)
async def test_convert_keeps_the_size_upright_and_drops_metadata(
    perform: Performer, storage: Path, to: str, name: str, loader: str
) -> None:
    await perform(kind="image.convert", input="photo.jpg", output=name, format=to)
    picture = opened(storage / name)
    assert picture.get("vips-loader") == loader
    assert (picture.width, picture.height) == (40, 80)
    assert b"SecretCamera" not in (storage / name).read_bytes()
    red, green, blue = (round(value) for value in picture.getpoint(5, 5)[:3])
    assert (red, green, blue) == (pytest.approx(200, abs=12), pytest.approx(30, abs=12), pytest.approx(30, abs=12))


async def test_transparency_becomes_white_in_jpeg_and_stays_in_webp(perform: Performer, storage: Path) -> None:
    await perform(kind="image.convert", input="art.png", output="o.jpg", format="jpeg")
    await perform(kind="image.convert", input="art.png", output="o.webp", format="webp")
    assert opened(storage / "o.jpg").getpoint(5, 5)[1] == pytest.approx(142, abs=12)
    assert opened(storage / "o.webp").hasalpha()


async def test_a_cmyk_jpeg_becomes_srgb(perform: Performer, storage: Path) -> None:
    opened(storage / "photo.jpg").colourspace("cmyk").jpegsave(str(storage / "print.jpg"))
    await perform(kind="image.convert", input="print.jpg", output="o.png", format="png")
    assert opened(storage / "o.png").interpretation == "srgb"


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that announces any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "'in'"),
        (b"not an image", "'in'"),
        (png_bomb(50_000, 50_000), "WORKER_MAX_PIXELS"),
        (png_bomb(500, 500), "'in'"),
        (SVG.encode(), "'in'"),
        (b"P6 100000 100000 255\n", "'in'"),
    ],
)
async def test_hostile_images_are_refused_for_good(
    perform: Performer, storage: Path, content: bytes, reason: str
) -> None:
    (storage / "in").write_bytes(content)
    with pytest.raises(PermanentError) as caught:
        await perform(kind="image.resize", input="in", output="o.png", width=10)
    assert reason in str(caught.value)
    assert "/proc/" not in str(caught.value)
    assert names_in(storage) == ["art.png", "in", "photo.jpg"]


@pytest.mark.parametrize("name", ["photo.jpg", "art.png"])
async def test_a_truncated_image_is_refused(perform: Performer, storage: Path, name: str) -> None:
    big = opened(storage / name).resize(8)
    big.write_to_file(str(storage / f"big-{name}"))
    whole = (storage / f"big-{name}").read_bytes()
    (storage / f"cut-{name}").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(PermanentError):
        await perform(kind="image.convert", input=f"cut-{name}", output="o.webp", format="webp")
    assert not (storage / "o.webp").exists()


async def test_a_result_over_the_pixel_limit_is_refused(perform: Performer) -> None:
    with pytest.raises(PermanentError, match="would have"):
        await perform(kind="image.resize", input="photo.jpg", output="o.png", width=5000)


async def test_an_image_that_needs_too_much_memory_does_not_reach_the_worker(perform: Performer, storage: Path) -> None:
    big = opened(storage / "photo.jpg").resize(100)  # 8000x4000, and turning it takes all of it in memory
    big.jpegsave(str(storage / "big.jpg"))
    tight = dataclasses.replace(perform, limits=dataclasses.replace(LIMITS, pixels=10**9, memory_bytes=110_000_000))
    with pytest.raises(PermanentError):
        await tight(kind="image.convert", input="big.jpg", output="o.png", format="png")
    assert not (storage / "o.png").exists()
