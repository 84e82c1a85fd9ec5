"""What is a job and what is not; every refusal tells the mend and repeats nothing of the payload."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workerpool_worker.errors import PermanentError
from workerpool_worker.jobs.base import Job
from workerpool_worker.jobs.registry import KINDS, parse_job


def parse(fields: object) -> Job:
    return parse_job(json.dumps(fields).encode(), max_bytes=100_000)


VALID: list[dict[str, object]] = [
    {"kind": "video.transcode", "input": "a.mkv", "output": "b.mp4"},
    {"kind": "video.transcode", "input": "a", "output": "b.MP4", "width": 640, "crf": 0, "preset": "veryslow"},
    {"kind": "video.transcode", "input": "a", "output": "b.mp4", "videoBitrate": "2500k", "audioBitrate": "96k"},
    {"kind": "video.thumbnail", "input": "a", "output": "b.webp", "atSeconds": 1, "width": 100},
    {"kind": "image.resize", "input": "a.jpg", "output": "b.jpeg", "width": 10},
    {"kind": "image.resize", "input": "a", "output": "b.png", "width": 1, "height": 1, "fit": "cover", "quality": 1},
    {"kind": "image.convert", "input": "a.png", "output": "b.avif", "format": "avif"},
    {"kind": "email.send", "to": ["a@b.example"], "subject": "s", "text": "t", "id": "job-1"},
    {
        "kind": "email.send",
        "bcc": ["Ann <a@b.example>"],
        "html": "<p>",
        "from": "x@y.example",
        "replyTo": "z@y.example",
    },
    {"kind": "email.send", "to": ["grüße@büro.example"], "text": ""},
]


@pytest.mark.parametrize("fields", VALID)
def test_valid_jobs_are_taken(fields: dict[str, object]) -> None:
    assert parse(fields).kind == fields["kind"]


@pytest.mark.parametrize("fields", VALID)
def test_an_unknown_field_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(PermanentError, match="colour"):
        parse({**fields, "colour": "red"})


@pytest.mark.parametrize(
    ("fields", "mend"),
    [
        ([], "JSON array"),
        (5, "JSON number"),
        ("text", "JSON string"),
        (None, "JSON null"),
        ({}, "kind is missing or unknown"),
        ({"kind": "video.explode"}, "video.transcode"),
        ({"kind": ["email.send"]}, "kind is missing"),
        ({"kind": "video.transcode", "output": "b.mp4"}, "input: Field required"),
        ({**VALID[0], "output": "b.avi"}, "must end in .mp4"),
        ({**VALID[0], "output": "a.mkv/../b.mp4", "input": "./b.mp4", "width": 15}, "width"),
        ({**VALID[0], "input": "b.mp4", "output": "./b.mp4"}, "must not be the input"),
        ({**VALID[0], "width": 321}, "multiple of 2"),
        ({**VALID[0], "width": "320"}, "width"),
        ({**VALID[0], "width": True}, "width"),
        ({**VALID[0], "crf": 52}, "crf"),
        ({**VALID[0], "preset": "placebo -i /etc/passwd"}, "preset"),
        ({**VALID[0], "videoBitrate": "1;rm"}, "videoBitrate"),
        ({**VALID[0], "videoBitrate": "1M", "crf": 20}, "not both"),
        ({**VALID[0], "input": "a\nb"}, "input"),
        ({**VALID[0], "input": ""}, "input"),
        ({**VALID[0], "id": 7}, "id"),
        ({**VALID[3], "atSeconds": -1}, "atSeconds"),
        ({**VALID[3], "output": "b.gif"}, ".jpg"),
        ({"kind": "image.resize", "input": "a", "output": "b.png"}, "width or height"),
        ({**VALID[4], "fit": "cover"}, "needs width and height"),
        ({**VALID[4], "output": "b.gif"}, "output must end in"),
        ({**VALID[4], "quality": 101}, "quality"),
        ({**VALID[4], "width": 100_000}, "width"),
        ({**VALID[6], "format": "png"}, "extension .avif is not of format png"),
        ({**VALID[6], "format": "tiff"}, "format"),
        ({"kind": "email.send", "text": "t"}, "at least one recipient"),
        ({"kind": "email.send", "to": ["a@b.example"]}, "text, html or both"),
        ({**VALID[7], "to": "a@b.example"}, "to"),
        ({**VALID[7], "to": ["a@b.example\r\nBcc: evil@x.example"]}, "to.0"),
        ({**VALID[7], "to": ["a@b.example, c@d.example"]}, "one address"),
        ({**VALID[7], "to": ["nobody"]}, "name@host.example"),
        ({**VALID[7], "subject": "hi\nBcc: evil@x.example"}, "subject"),
        ({**VALID[7], "from": "x@y.example\rX: y"}, "from"),
        ({**VALID[7], "replyTo": "x@y.example\u2028X: y"}, "replyTo"),
        ({**VALID[7], "attachments": ["a\r\nb"]}, "attachments.0"),
    ],
)
def test_bad_jobs_are_refused_with_the_mend(fields: object, mend: str) -> None:
    with pytest.raises(PermanentError) as caught:
        parse(fields)
    assert mend in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "mend"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"kind": "email.send", "subject": "\\ud800"}', "JSON"),
        (b'{"kind": NaN}', "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b'{"kind":"' + b"x" * 200_000 + b'"}', "WORKER_MAX_PAYLOAD_BYTES"),
    ],
)
def test_what_is_no_json_is_refused(payload: bytes, mend: str) -> None:
    with pytest.raises(PermanentError) as caught:
        parse_job(payload, max_bytes=100_000)
    assert mend in str(caught.value)


def test_a_refusal_does_not_repeat_the_payload() -> None:
    with pytest.raises(PermanentError) as caught:
        parse({"kind": "video.transcode", "input": 5, "output": "hunter2"})
    assert "hunter2" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
FIELD = st.sampled_from(["input", "output", "width", "to", "subject", "text", "id", "fit", "format", "attachments"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(sorted(KINDS)), fields=st.dictionaries(FIELD, JSON))
def test_any_json_is_a_job_or_a_clear_refusal(kind: str, fields: dict[str, object]) -> None:
    with contextlib.suppress(PermanentError):
        parse({"kind": kind, **fields})


@given(st.binary())
def test_any_bytes_are_a_job_or_a_clear_refusal(payload: bytes) -> None:
    with pytest.raises(PermanentError):
        parse_job(payload, max_bytes=100_000)
