"""From a payload to a job.

In: bytes from a queue or a user. Out: the validated job, or a PermanentError that names each wrong field. Texts
of the payload are not repeated in messages: they may be secret, or huge.
"""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import from_json

from workerpool_worker.errors import PermanentError
from workerpool_worker.jobs.base import Job
from workerpool_worker.jobs.email import EmailSend
from workerpool_worker.jobs.image import ImageConvert, ImageResize
from workerpool_worker.jobs.video import VideoThumbnail, VideoTranscode

KINDS: dict[str, type[Job]] = {
    "video.transcode": VideoTranscode,
    "video.thumbnail": VideoThumbnail,
    "image.resize": ImageResize,
    "image.convert": ImageConvert,
    "email.send": EmailSend,
}


def parse_job(payload: bytes, *, max_bytes: int) -> Job:
    """Read a job.

    Raises:
        PermanentError: It is not a job; the message tells the mend.
    """
    if len(payload) > max_bytes:
        raise PermanentError(
            f"the job has {len(payload)} bytes, at most {max_bytes} are taken (WORKER_MAX_PAYLOAD_BYTES): "
            "put large content into the storage"
        )
    fields = _json_object(payload)
    kind = fields.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise PermanentError(f"kind is missing or unknown: give one of {', '.join(KINDS)}")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        complaints = [
            f"{'.'.join(map(str, line['loc']))}: {line['msg'].removeprefix('Value error, ')}".removeprefix(": ")
            for line in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise PermanentError(f"not a valid {kind} job: {'; '.join(complaints[:10])}") from None


def _json_object(payload: bytes) -> dict[str, object]:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise PermanentError(f"the job is not UTF-8 text (byte {error.start}): send JSON") from None
    try:
        fields = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise PermanentError(f"the job is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise PermanentError(f"the job is a JSON {_NAMES.get(type(fields), 'value')}: send an object with a kind")
    return fields


_NAMES = {list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
