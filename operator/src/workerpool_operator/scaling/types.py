"""The values that go into and come out of a decision. All frozen; times in seconds on one monotonic clock."""

from dataclasses import dataclass
from enum import StrEnum

from workerpool_operator.api import QueueReading


class Reason(StrEnum):
    """Why a pool has the replicas that it has."""

    BACKLOG = "Backlog"
    EMPTY = "Empty"
    AT_MAXIMUM = "AtMaximum"
    AT_MINIMUM = "AtMinimum"
    STABILIZING = "Stabilizing"
    WORKERS_BUSY = "WorkersBusy"
    DEPTH_UNKNOWN = "DepthUnknown"
    SUSPENDED = "Suspended"


@dataclass(frozen=True, slots=True)
class Observation:
    """What is seen of a pool now.

    Attributes:
        readings: one for each queue of the spec, in its order.
        replicas: `spec.replicas` of the target.
    """

    readings: tuple[QueueReading, ...]
    replicas: int


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A number of replicas that was wanted, and the last time at which it was.

    Attributes:
        until: seconds; the moment of the last decision that wanted this many.
        replicas: how many.
    """

    until: float
    replicas: int


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """What a decision must know of those before it.

    Attributes:
        recommendations: recent ones with replicas falling and time rising, so that the first is the most that was
            wanted and the last is the newest. Never empty.
    """

    recommendations: tuple[Recommendation, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas, and why.

    Attributes:
        replicas: what the target should have.
        reason: one CamelCase word.
        message: one sentence with the numbers.
        limited_by: what kept the number from being the rule's: a Reason, or None.
        memory: to be passed to the next decision.
        recheck_at: seconds; when the decision may differ though nothing that was observed does. None: never.
    """

    replicas: int
    reason: Reason
    message: str
    limited_by: Reason | None
    memory: PoolMemory
    recheck_at: float | None = None
