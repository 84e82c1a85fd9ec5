"""Whatever the brokers' room or its libraries log, at whatever level, never holds a password."""

import logging
from collections.abc import Iterator

import pytest

from tests.operator.brokers.reading import PASSWORD, quoted

LOGGERS = ("aiohttp", "asyncio", "pika", "redis", "workerpool_operator")


class Watcher(logging.Handler):
    """Keeps the lines that hold the password. All that is logged would be much, and slow to keep."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines = 0
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += 1
        text = self.format(record)
        if PASSWORD in text or quoted() in text:
            self.leaks.append(text)


@pytest.fixture(autouse=True)
def logs_hold_no_password() -> Iterator[Watcher]:
    watcher = Watcher()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(watcher)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    yield watcher
    for logger, level, propagate in before:
        logger.removeHandler(watcher)
        logger.setLevel(level)
        logger.propagate = propagate
    assert watcher.leaks == []


@pytest.fixture
def few_words(logs_hold_no_password: Watcher) -> None:
    """For tests of many reads, which the library's debug lines would make slow."""
    assert logs_hold_no_password
    logging.getLogger("pika").setLevel(logging.WARNING)
