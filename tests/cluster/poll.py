"""Waiting for a condition: the only place in the clusters and their tests that sleeps.

A probe and a deadline come in; the probe's first truthy answer goes out, or an error that says what was awaited.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.cluster.errors import ClusterError

T = TypeVar("T")


def until(
    probe: Callable[[], T],
    what: str,
    *,
    timeout: float = 60,
    interval: float = 0.1,
    explain: Callable[[], str] | None = None,
) -> T:
    """Calls `probe` until it answers something truthy, and returns that.

    Args:
        probe: must not raise for "not yet".
        what: the condition in words, for the error.
        timeout: seconds.
        interval: seconds between two probes.
        explain: more words for the error, asked for only then.

    Raises:
        ClusterError: `timeout` seconds went by.
    """
    deadline = time.monotonic() + timeout
    while not (answer := probe()):
        if time.monotonic() > deadline:
            more = f"\n{explain()}" if explain else ""
            raise ClusterError(f"waited {timeout:g} s in vain for {what}{more}")
        time.sleep(interval)
    return answer
