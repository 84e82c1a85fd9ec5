"""Whatever the brokers' room or its libraries log, at whatever level, never holds a password."""

import logging
from collections.abc import Iterator

import pytest

from tests.operator.brokers.reading import PASSWORD, quoted


@pytest.fixture(autouse=True)
def logs_hold_no_password(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    for name in (None, "pika", "redis", "aiohttp", "asyncio", "workerpool_operator"):
        caplog.set_level(logging.DEBUG, name)
    yield
    told = [*(record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when)), caplog.text]
    assert not [text for text in told if PASSWORD in text or quoted() in text]
