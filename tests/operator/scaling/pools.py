"""Short ways to write pools, queues and what is seen of them.

In: numbers. Out: the values that `decide` takes. Nothing here computes what a test expects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workerpool_operator.api import Depth, QueueReading, Unreadable, WorkerPoolSpec
from workerpool_operator.scaling import Decision, Observation, PoolMemory, decide


def pool(
    *,
    jobs: int = 50,
    replicas: int = 2,
    at_least: int = 0,
    at_most: int = 5,
    window: int = 300,
    suspend: bool = False,
    queues: int = 1,
) -> WorkerPoolSpec:
    """A pool: `replicas` for every `jobs`, between `at_least` and `at_most`, stabilized over `window` seconds."""
    document: dict[str, Any] = {
        "scaleTargetRef": {"name": "video"},
        "minReplicas": at_least,
        "maxReplicas": at_most,
        "queues": [
            {"name": f"q{number}", "brokerRef": {"name": "redis"}, "redisList": {"key": f"q{number}"}}
            for number in range(queues)
        ],
        "scaling": {"backlog": {"jobs": jobs, "replicas": replicas}},
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": window}},
        "suspend": suspend,
    }
    return WorkerPoolSpec.model_validate(document)


def one_a_job(*, at_least: int = 0, at_most: int = 100_000, window: int = 300) -> WorkerPoolSpec:
    """A pool that wants as many replicas as there are jobs."""
    return pool(jobs=1, replicas=1, at_least=at_least, at_most=at_most, window=window)


def seen(replicas: int, *results: Depth | Unreadable) -> Observation:
    """The target's replicas, and one result for each queue."""
    return Observation(tuple(QueueReading(f"q{number}", result) for number, result in enumerate(results)), replicas)


def lost(at_least: Depth | None = None, message: str = "the broker is away") -> Unreadable:
    """A queue that cannot be read."""
    return Unreadable("Unreachable", message, at_least=at_least)


def watched(spec: WorkerPoolSpec, *moments: tuple[float, Observation]) -> Sequence[Decision]:
    """The decisions at these moments, each with the memory of the one before."""
    decisions: list[Decision] = []
    memory: PoolMemory | None = None
    for now, observation in moments:
        decisions.append(decide(spec, memory, observation, now))
        memory = decisions[-1].memory
    return decisions
