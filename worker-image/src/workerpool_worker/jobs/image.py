"""Image jobs by libvips: resize and convert.

In: the job's fields and an image that nobody trusts. Out: the published image, upright, in sRGB, without
metadata. The decoding happens in a program of its own (``workerpool_worker.imaging``), so that neither a bomb
nor a crash of a decoder reaches the worker, and a timeout ends it.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workerpool_worker import imaging
from workerpool_worker.errors import PermanentError, TemporaryError
from workerpool_worker.jobs.base import Context, FilePath, Job, extension, same_file
from workerpool_worker.jobs.program import run_program

Format = Literal["jpeg", "png", "webp", "avif"]
_FORMATS: dict[str, Format] = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "webp": "webp", "avif": "avif"}

Side = Annotated[int, Field(ge=1, le=16_383, description="pixels")]
Quality = Annotated[int, Field(ge=1, le=100, description="of JPEG, WebP and AVIF")]


class ImageResize(Job):
    """``image.resize``: to a size, in the format of the output's extension.

    Fit: ``inside`` keeps the shape within width and height (one of them is enough), ``cover`` fills both and
    crops what is over, ``fill`` stretches to both.
    """

    kind: Literal["image.resize"] = "image.resize"
    input: FilePath
    output: FilePath
    width: Side | None = None
    height: Side | None = None
    fit: Literal["inside", "cover", "fill"] = "inside"
    enlarge: bool = True
    quality: Quality = 85

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_names(self.input, self.output)
        if self.width is None and self.height is None:
            raise ValueError("give width or height")
        if self.fit != "inside" and (self.width is None or self.height is None):
            raise ValueError(f"fit {self.fit} needs width and height")
        return self

    async def perform(self, context: Context) -> None:
        """See Job."""
        size = {"width": self.width, "height": self.height, "fit": self.fit, "enlarge": self.enlarge}
        await _convert(self.input, self.output, _FORMATS[extension(self.output)], self.quality, size, context)


class ImageConvert(Job):
    """``image.convert``: to another format, in the same size."""

    kind: Literal["image.convert"] = "image.convert"
    input: FilePath
    output: FilePath
    format: Format
    quality: Quality = 85

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_names(self.input, self.output)
        if _FORMATS[extension(self.output)] != self.format:
            raise ValueError(f"output's extension .{extension(self.output)} is not of format {self.format}")
        return self

    async def perform(self, context: Context) -> None:
        """See Job."""
        await _convert(self.input, self.output, self.format, self.quality, {}, context)


def _check_names(source: str, output: str) -> None:
    if extension(output) not in _FORMATS:
        raise ValueError(f"output must end in one of {', '.join(f'.{name}' for name in _FORMATS)}")
    if same_file(source, output):
        raise ValueError("output must not be the input")


async def _convert(
    name: str, output: str, to: Format, quality: int, size: Mapping[str, object], context: Context
) -> None:
    limits = context.limits
    async with context.storage.reading(name) as source, context.storage.writing(output) as target:
        order = {
            "source": str(source.path),
            "target": str(target.path),
            "format": to,
            "quality": quality,
            "maxPixels": limits.pixels,
            "threads": limits.threads,
            **size,
        }
        finished = await run_program(
            [sys.executable, "-I", "-m", imaging.__name__, json.dumps(order)],
            limits=limits,
            descriptors=(source.descriptor,),
        )
        if finished.code == 0:
            return
        said = finished.errors.replace(str(source.path), name).strip()[-1000:]
        if finished.code == imaging.REFUSED:
            raise PermanentError(f"{name!r}: {said}")
        if finished.code == imaging.NOT_NOW:
            raise TemporaryError(f"{name!r}: {said}")
        if finished.code < 0:
            raise PermanentError(f"{name!r}: the decoder crashed ({signal.Signals(-finished.code).name})")
        raise TemporaryError(f"the image program failed: {said}")
