"""Real transcodes and thumbnails by FFmpeg, checked by ffprobe; and media that attack."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import pyvips

from tests.worker.jobs.running import LIMITS, Performer, names_in
from workerpool_worker.errors import PermanentError


def probe(path: Path) -> dict[str, Any]:
    said = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)],
        check=True,
        capture_output=True,
    )
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", *arguments], check=True)


@pytest.fixture
def perform(storage: Path, media: Path) -> Performer:
    for name in ("clip.mkv", "clip.mp4"):
        shutil.copy(media / name, storage)
    return Performer(storage)


def stream(found: dict[str, Any], kind: str) -> dict[str, Any]:
    matching: list[dict[str, Any]] = [one for one in found["streams"] if one["codec_type"] == kind]
    return matching[0]


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (320, 240)),
        ({"width": 160}, (160, 120)),
        ({"height": 120}, (160, 120)),
        ({"width": 200, "height": 200}, (200, 200)),
        ({"width": 640, "videoBitrate": "300k", "audioBitrate": "64k"}, (640, 480)),
        ({"crf": 40}, (320, 240)),
    ],
)
async def test_a_video_becomes_mp4_with_h264_and_aac(
    perform: Performer, storage: Path, options: dict[str, object], size: tuple[int, int]
) -> None:
    await perform(kind="video.transcode", input="clip.mkv", output="out/clip.mp4", preset="ultrafast", **options)
    found = probe(storage / "out/clip.mp4")
    assert "mp4" in found["format"]["format_name"]
    video, audio = stream(found, "video"), stream(found, "audio")
    assert (video["codec_name"], audio["codec_name"], video["pix_fmt"]) == ("h264", "aac", "yuv420p")
    assert (video["width"], video["height"]) == size
    assert float(found["format"]["duration"]) == pytest.approx(2, abs=0.2)
    head = (storage / "out/clip.mp4").read_bytes()
    assert head.index(b"moov") < head.index(b"mdat"), "not ready for streaming"


async def test_a_video_without_sound_is_transcoded(perform: Performer, storage: Path) -> None:
    ffmpeg("-i", storage / "clip.mp4", "-an", "-c", "copy", storage / "mute.mp4")
    await perform(kind="video.transcode", input="mute.mp4", output="out.mp4", preset="ultrafast")
    assert len(probe(storage / "out.mp4")["streams"]) == 1


@pytest.mark.parametrize(
    ("name", "loader"), [("t.jpg", "jpeg"), ("t.png", "png"), ("t.webp", "webp"), ("t%d.jpg", "jpeg")]
)
async def test_a_thumbnail_is_made_in_the_outputs_format(
    perform: Performer, storage: Path, name: str, loader: str
) -> None:
    await perform(kind="video.thumbnail", input="clip.mkv", output=name, atSeconds=1, width=100)
    picture = pyvips.Image.new_from_file(str(storage / name))
    assert (picture.width, picture.get("vips-loader")) == (100, f"{loader}load")


async def test_a_thumbnail_beyond_the_end_is_refused(perform: Performer, storage: Path) -> None:
    with pytest.raises(PermanentError, match=r"no frame at 99 s .* 2.* s long"):
        await perform(kind="video.thumbnail", input="clip.mkv", output="t.jpg", atSeconds=99)
    assert not (storage / "t.jpg").exists()


async def test_names_that_look_like_options_or_protocols_are_files(perform: Performer, storage: Path) -> None:
    (storage / "clip.mkv").rename(storage / "-i http:x.mkv")
    await perform(kind="video.thumbnail", input="-i http:x.mkv", output="concat:a|b.png")
    assert (storage / "concat:a|b.png").stat().st_size > 0


async def test_a_job_done_again_replaces_its_output(perform: Performer, storage: Path) -> None:
    for _ in range(2):
        await perform(kind="video.thumbnail", input="clip.mkv", output="t.jpg")
    assert names_in(storage) == ["clip.mkv", "clip.mp4", "t.jpg"]


SECRET = "SECRET-CONTENT"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", ""),
        ("text.mp4", "hello " * 1000),
        ("list.m3u8", "#EXTM3U\n#EXTINF:1,\nfile:{secret}\n#EXT-X-ENDLIST\n"),
        (
            "list.mp4",
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1.0,\nconcat:clip.mp4|file://{secret}\n#EXT-X-ENDLIST\n",
        ),
        ("remote.m3u8", "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n"),
        ("concat.txt", "ffconcat version 1.0\nfile clip.mp4\n"),
        ("concat.mp4", "ffconcat version 1.0\nfile '{secret}'\n"),
        ("stream.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
        (
            "dash.mpd",
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>file:{secret}</BaseURL></MPD>',
        ),
        ("text.ass", "[Script Info]\n[Events]\nDialogue: 0,0:00:00.00,0:00:01.00,x,,0,0,0,,x\n"),
    ],
)
async def test_playlists_and_other_non_videos_are_refused_for_good(
    perform: Performer, storage: Path, tmp_path: Path, name: str, content: str
) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_text(SECRET)
    (storage / name).write_text(content.replace("{secret}", str(secret)))
    before = names_in(storage)
    with pytest.raises(PermanentError) as caught:
        await perform(kind="video.transcode", input=name, output="out.mp4")
    assert name in str(caught.value)
    assert SECRET not in str(caught.value)
    assert names_in(storage) == before


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
async def test_a_truncated_video_is_refused_and_leaves_no_output(perform: Performer, storage: Path, name: str) -> None:
    whole = (storage / name).read_bytes()
    (storage / f"cut-{name}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PermanentError):
        await perform(kind="video.transcode", input=f"cut-{name}", output="out.mp4", preset="ultrafast")
    assert not (storage / "out.mp4").exists()


async def test_sound_alone_is_no_video(perform: Performer, storage: Path) -> None:
    ffmpeg("-i", storage / "clip.mkv", "-vn", "-c:a", "aac", storage / "sound.mp4")
    with pytest.raises(PermanentError, match="no video"):
        await perform(kind="video.transcode", input="sound.mp4", output="out.mp4")


async def test_frames_over_the_pixel_limit_are_refused(perform: Performer) -> None:
    small = dataclasses.replace(perform, limits=dataclasses.replace(LIMITS, pixels=50_000))
    with pytest.raises(PermanentError, match="WORKER_MAX_PIXELS"):
        await small(kind="video.thumbnail", input="clip.mkv", output="t.jpg")


async def test_an_output_over_the_size_limit_is_refused(perform: Performer, storage: Path) -> None:
    small = dataclasses.replace(perform, limits=dataclasses.replace(LIMITS, output_bytes=2000))
    with pytest.raises(PermanentError):
        await small(kind="video.transcode", input="clip.mkv", output="out.mp4", crf=1)
    assert not (storage / "out.mp4").exists()
