"""Video jobs by FFmpeg: transcode to MP4 (H.264, AAC), and a thumbnail.

In: the job's fields and a media file that nobody trusts. Out: the published file. FFmpeg may read nothing but
the one open input: playlists, concatenations and references to other files or hosts are refused by a list of
container formats and of protocols. A result that is much shorter than its input is an error, not a video.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from workerpool_worker.errors import PermanentError, TemporaryError
from workerpool_worker.jobs.base import Context, FilePath, Job, Limits, extension, same_file
from workerpool_worker.jobs.program import Finished, run_program
from workerpool_worker.storage import Source

# Containers that hold their media themselves. None of them is a playlist (hls, concat, dash, sdp, image2...).
_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,gif,h264,hevc,m4v,ivf,dv,nut,rm,wtv"
_PROTOCOLS = "file,pipe"
_THUMBNAIL_CODECS = {
    "jpg": ("mjpeg", "-q:v", "3"),
    "jpeg": ("mjpeg", "-q:v", "3"),
    "png": ("png",),
    "webp": ("libwebp", "-quality", "85"),
}
_OUT_OF_SPACE = ("No space left on device", "Disk quota exceeded", "Input/output error", "Stale file handle")
# A truncated input decodes without an error up to its end; containers announce durations that are a bit off.
_SHORTEST = 0.95
_SHORTEST_SLACK_SECONDS = 0.1

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
EvenSize = Annotated[int, Field(ge=16, le=7680, multiple_of=2, description="pixels; H.264 needs an even number")]
Bitrate = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}[kM]?$", description="bits a second, as 2500k or 4M")]


class VideoTranscode(Job):
    """``video.transcode``: any video to MP4 with H.264 and AAC, ready for streaming.

    With one of width and height the other follows; with both, the picture is fitted in and bars fill the rest.
    """

    kind: Literal["video.transcode"] = "video.transcode"
    input: FilePath
    output: FilePath
    width: EvenSize | None = None
    height: EvenSize | None = None
    crf: int = Field(23, ge=0, le=51)
    preset: Preset = "medium"
    video_bitrate: Bitrate | None = Field(None, alias="videoBitrate")
    audio_bitrate: Bitrate = Field("128k", alias="audioBitrate")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if extension(self.output) != "mp4":
            raise ValueError("output must end in .mp4")
        if same_file(self.input, self.output):
            raise ValueError("output must not be the input")
        if "crf" in self.model_fields_set and self.video_bitrate is not None:
            raise ValueError("give crf or videoBitrate, not both")
        return self

    async def perform(self, context: Context) -> None:
        """See Job."""
        async with context.storage.reading(self.input) as source, context.storage.writing(self.output) as target:
            video = await _probe(source.path, source.name, context.limits, source.descriptor)
            quality = ["-b:v", self.video_bitrate] if self.video_bitrate else ["-crf", str(self.crf)]
            await _ffmpeg(
                source,
                context.limits,
                before=[],
                after=[
                    *("-map", "0:V:0", "-map", "0:a:0?", "-sn", "-dn", "-map_metadata", "-1"),
                    *("-vf", _scale(self.width, self.height), "-pix_fmt", "yuv420p"),
                    *("-c:v", "libx264", "-preset", self.preset, *quality),
                    *("-c:a", "aac", "-b:a", self.audio_bitrate, "-ac", "2"),
                    *("-movflags", "+faststart", "-f", "mp4", f"file:{target.path}"),
                ],
            )
            made = await _probe(target.path, self.output, context.limits)
            _check_length(video, made)


class VideoThumbnail(Job):
    """``video.thumbnail``: one frame as JPEG, PNG or WebP, by the output's extension."""

    kind: Literal["video.thumbnail"] = "video.thumbnail"
    input: FilePath
    output: FilePath
    at_seconds: float = Field(0, alias="atSeconds", ge=0, le=1_000_000, allow_inf_nan=False)
    width: int | None = Field(None, ge=16, le=7680)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if extension(self.output) not in _THUMBNAIL_CODECS:
            raise ValueError(f"output must end in one of {', '.join(f'.{name}' for name in _THUMBNAIL_CODECS)}")
        return self

    async def perform(self, context: Context) -> None:
        """See Job."""
        async with context.storage.reading(self.input) as source, context.storage.writing(self.output) as target:
            video = await _probe(source.path, source.name, context.limits, source.descriptor)
            codec = _THUMBNAIL_CODECS[extension(self.output)]
            await _ffmpeg(
                source,
                context.limits,
                before=["-ss", f"{self.at_seconds:.3f}"],
                after=[
                    *("-map", "0:V:0", "-an", "-sn", "-dn", "-frames:v", "1", "-map_metadata", "-1"),
                    *(("-vf", f"scale={self.width}:-1") if self.width else ()),
                    *("-c:v", *codec, "-f", "image2", "-update", "1", f"file:{target.path}"),
                ],
            )
            if target.path.stat().st_size == 0:
                raise PermanentError(
                    f"no frame at {self.at_seconds:g} s of {self.input!r}: it is {video.file_seconds or 0:g} s long"
                )


@dataclass(frozen=True, slots=True)
class _Video:
    """How long a file is, in seconds, where it tells: its picture, and all of it."""

    picture_seconds: float | None
    file_seconds: float | None


async def _probe(path: Path, name: str, limits: Limits, descriptor: int | None = None) -> _Video:
    finished = await run_program(
        [
            *("ffprobe", "-v", "error", "-protocol_whitelist", _PROTOCOLS, "-format_whitelist", _CONTAINERS),
            *("-show_entries", "stream=codec_type,width,height,duration:stream_disposition=attached_pic"),
            *("-show_entries", "format=duration", "-of", "json", f"file:{path}"),
        ],
        limits=limits,
        descriptors=() if descriptor is None else (descriptor,),
    )
    if finished.code != 0:
        raise _failure(f"{name!r} cannot be read as a video", finished, path, name)
    try:
        found: dict[str, Any] = json.loads(finished.output)
    except json.JSONDecodeError as error:
        raise PermanentError(f"{name!r} holds too many streams to be a video") from error
    pictures = [
        stream
        for stream in found.get("streams", [])
        if stream.get("codec_type") == "video" and not stream.get("disposition", {}).get("attached_pic")
    ]
    if not pictures:
        raise PermanentError(f"{name!r} has no video in it")
    pixels = int(pictures[0].get("width", 0)) * int(pictures[0].get("height", 0))
    if pixels > limits.pixels:
        raise PermanentError(
            f"{name!r} has {pixels} pixels a frame, at most {limits.pixels} are taken (WORKER_MAX_PIXELS)"
        )
    return _Video(_seconds(pictures[0]), _seconds(found.get("format", {})))


def _seconds(entry: dict[str, Any]) -> float | None:
    return float(entry["duration"]) if "duration" in entry else None


async def _ffmpeg(source: Source, limits: Limits, *, before: list[str], after: list[str]) -> None:
    threads = str(limits.threads)
    finished = await run_program(
        [
            *("ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"),
            *("-protocol_whitelist", _PROTOCOLS, "-format_whitelist", _CONTAINERS),
            *("-max_pixels", str(min(limits.pixels, 2**31 - 1)), "-threads", threads, *before),
            *("-i", f"file:{source.path}", "-filter_threads", threads, "-threads", threads, *after),
        ],
        limits=limits,
        descriptors=(source.descriptor,),
    )
    if finished.code != 0:
        raise _failure(f"FFmpeg cannot do it with {source.name!r}", finished, source.path, source.name)


def _scale(width: int | None, height: int | None) -> str:
    if width and height:
        return (
            f"scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2,"
            f"pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"
        )
    if width or height:
        return f"scale={width or -2}:{height or -2}"
    return "scale=trunc(iw/2)*2:trunc(ih/2)*2"


def _check_length(video: _Video, made: _Video) -> None:
    expected, got = video.picture_seconds, made.picture_seconds
    if expected is None:  # Matroska tells the length of the whole only
        expected, got = video.file_seconds, made.file_seconds
    if expected is None or got is None:
        return
    if got < expected * _SHORTEST - _SHORTEST_SLACK_SECONDS:
        raise PermanentError(
            f"the input announces {expected:.1f} s and only {got:.1f} s of it can be read: "
            "it is cut off or damaged; upload it again"
        )


def _failure(what: str, finished: Finished, path: Path, name: str) -> PermanentError | TemporaryError:
    said = finished.errors.replace(f"file:{path}", name).replace(str(path), name)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = "; ".join(lines[-3:]) or f"exit code {finished.code}"
    kind = TemporaryError if any(sign in said for sign in _OUT_OF_SPACE) else PermanentError
    return kind(f"{what}: {reason[:1000]}")
