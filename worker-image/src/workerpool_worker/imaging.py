"""The program that decodes and encodes one image; image jobs run it with limits.

In: one argument, the order as JSON, and an inherited file to read. Out: the image written to its target, or a
reason on stderr with exit code REFUSED (the image is at fault) or NOT_NOW (the machine is). It imports nothing
but libvips, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyvips

REFUSED = 3
NOT_NOW = 4

_LOADERS = ("Jpeg", "Png", "Webp", "Nsgif", "Tiff", "Heif")
_WHITE = [255, 255, 255]
_NOT_NOW_SIGNS = ("No space left on device", "Disk quota exceeded", "Input/output error", "Stale file handle")
# Larger than any side: "shrink to this" then leaves the size, and does all the rest (upright, sRGB).
_ANY_SIZE = 10_000_000
# EXIF orientations from this one on lie on their side.
_FIRST_TURNED = 5


def main(order: dict[str, Any]) -> None:
    """Do the order.

    Raises:
        ValueError: The image is refused; the message says why.
        pyvips.Error: libvips cannot read or write it.
    """
    os.environ["VIPS_CONCURRENCY"] = str(order["threads"])  # read when the library is loaded
    import pyvips  # noqa: PLC0415

    pyvips.cache_set_max(0)
    # Only decoders of pictures made of pixels: no SVG (it refers to other files), nothing exotic.
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADERS:
        pyvips.operation_block_set(f"VipsForeignLoad{loader}", False)

    header = pyvips.Image.new_from_file(order["source"])
    pixels = header.width * header.height
    if pixels > order["maxPixels"]:
        raise ValueError(
            f"{header.width}x{header.height} pixels, at most {order['maxPixels']} are taken (WORKER_MAX_PIXELS)"
        )
    made = _result_pixels(header, order)
    if made > order["maxPixels"]:
        raise ValueError(f"the result would have {made} pixels, at most {order['maxPixels']} are made")
    width, options = _fit(order)
    picture = pyvips.Image.thumbnail(order["source"], width, **options, fail_on="truncated", output_profile="srgb")
    if order["format"] == "jpeg" and picture.hasalpha():
        picture = picture.flatten(background=_WHITE)
    _save(picture, order)


def _result_pixels(header: pyvips.Image, order: dict[str, Any]) -> int:
    """How large the result will be; libvips would make it before it tells."""
    turned = bool(header.get_typeof("orientation")) and header.get("orientation") >= _FIRST_TURNED
    width, height = (header.height, header.width) if turned else (header.width, header.height)
    if order.get("fit") is None:
        return int(width * height)
    if order["fit"] != "inside":
        return int(order["width"] * order["height"])
    scale = min((order["width"] or _ANY_SIZE) / width, (order["height"] or _ANY_SIZE) / height)
    if not order["enlarge"]:
        scale = min(scale, 1)
    return int(width * scale) * int(height * scale)


def _fit(order: dict[str, Any]) -> tuple[int, dict[str, object]]:
    """The width and options of libvips for the order's size."""
    width, height, fit = order.get("width"), order.get("height"), order.get("fit")
    if fit is None:
        return _ANY_SIZE, {"height": _ANY_SIZE, "size": "down"}
    if fit == "fill":
        return order["width"], {"height": height, "size": "force"}
    options = {"height": height or _ANY_SIZE, "size": "both" if order["enlarge"] else "down"}
    return width or _ANY_SIZE, {**options, "crop": "centre"} if fit == "cover" else options


def _save(picture: pyvips.Image, order: dict[str, Any]) -> None:
    target, quality = order["target"], order["quality"]
    match order["format"]:
        case "jpeg":
            picture.jpegsave(target, Q=quality, keep="none", optimize_coding=True)
        case "png":
            picture.pngsave(target, keep="none")
        case "webp":
            picture.webpsave(target, Q=quality, keep="none")
        case "avif":
            picture.heifsave(target, Q=quality, keep="none", compression="av1")


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except (MemoryError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the reason goes to the worker by stderr and exit code
        reason = " ".join(str(error).split()) or type(error).__name__
        print(reason, file=sys.stderr)
        sys.exit(NOT_NOW if any(sign in reason for sign in _NOT_NOW_SIGNS) else REFUSED)
