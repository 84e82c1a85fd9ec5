"""A payload survives any number of attempts byte for byte, and is never taken for an envelope."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_worker.queues.base import named_id
from workerpool_worker.queues.envelope import Envelope


@given(st.binary(), st.integers(0, 20_000))
def test_payload_and_history_survive_the_list(payload: bytes, attempts: int) -> None:
    envelope = Envelope("job", "c1", attempts, 1_700_000_000_000, payload)
    assert Envelope.of_element(envelope.element(), claim="c2", now_ms=5) == envelope


@given(st.binary())
def test_any_other_element_is_a_payload_at_its_first_claim(element: bytes) -> None:
    envelope = Envelope.of_element(element, claim="c1", now_ms=5)
    assert (envelope.payload, envelope.attempts, envelope.first_at_ms) == (element, 0, 5)


@pytest.mark.parametrize(
    "element",
    [
        b'{"workerpool.dev/envelope":1}',
        b'{"workerpool.dev/envelope":2,"id":"a","claim":"c","attempts":0,"firstAt":1,"payload":""}',
        b'{"workerpool.dev/envelope":1,"id":"a","claim":"c","attempts":"0","firstAt":1,"payload":""}',
        b'{"workerpool.dev/envelope":1,"id":"a","claim":"c","attempts":0,"firstAt":1,"payloadBase64":"?"}',
        b'{"workerpool.dev/envelope":' + b"[" * 100_000,
    ],
)
def test_what_only_looks_like_an_envelope_is_a_payload(element: bytes) -> None:
    assert Envelope.of_element(element, claim="c1", now_ms=5).payload == element


def test_equal_jobs_are_different_members_of_the_delayed_set() -> None:
    one, other = (Envelope.of_element(b'{"id":"same"}', claim=claim, now_ms=5) for claim in ("c1", "c2"))
    assert one.id == other.id == "same"
    assert one.after_attempt().element() != other.after_attempt().element()


@given(st.binary())
def test_a_dead_letter_holds_the_payload_verbatim(payload: bytes) -> None:
    letter = json.loads(Envelope("job", "c", 3, 0, payload).dead_letter("why", now_ms=60_000, queue="q", worker_id="w"))
    kept = letter["payload"].encode() if "payload" in letter else base64.b64decode(letter["payloadBase64"])
    assert kept == payload
    assert letter["id"] == "job"
    assert letter["reason"] == "why"
    assert letter["attempts"] == 3
    assert letter["firstAttemptAt"] == "1970-01-01T00:00:00.000+00:00"
    assert letter["lastAttemptAt"] == "1970-01-01T00:01:00.000+00:00"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"id":"a-1"}', "a-1"),
        (b'{"id":""}', None),
        (b'{"id":5}', None),
        (b'{"id":"\\ud800"}', None),
        (b'{"id":"a\\nb"}', None),
        (b'["id"]', None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_job_names_itself_by_a_printable_id(payload: bytes, expected: str | None) -> None:
    assert named_id(payload) == expected
