"""The waits between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_worker.runner import Bounds


def bounds(**changes: object) -> Bounds:
    fields: dict[str, object] = {
        "concurrency": 1,
        "job_timeout": 1800,
        "max_attempts": 3,
        "max_payload_bytes": 1000,
        "retry_interval": 5,
        "retry_backoff": "exponential",
        "retry_max_interval": 3600,
        "drain_timeout": None,
        **changes,
    }
    return Bounds(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 5), (2, 10), (3, 20), (10, 2560), (11, 3600), (10_000, 3600)])
def test_exponential_backoff_doubles_up_to_its_limit(attempt: int, seconds: int) -> None:
    assert bounds().delay_ms(attempt) == seconds * 1000


@given(st.integers(1, 10_000))
def test_fixed_backoff_stays(attempt: int) -> None:
    assert bounds(retry_backoff="fixed", retry_interval=30).delay_ms(attempt) == 30_000
