"""A queue's depth as it was read from its broker, or why it could not be read.

Comes in: nothing. Goes out: frozen values that travel from `brokers/` through `scaling/` into the status.
An error is a value here, never a zero.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Depth:
    """Jobs of one queue. Each count is in jobs, or None where the layout or the broker cannot tell.

    Attributes:
        waiting: ready to be claimed now, overdue retries included.
        in_flight: claimed by a worker and not finished.
        delayed: due at a later time.
    """

    waiting: int | None
    in_flight: int | None = None
    delayed: int | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a queue has no depth.

    Attributes:
        reason: one CamelCase word, as a condition's reason.
        message: one sentence that tells the mend; never holds a credential.
        whole_broker: true when no queue of the connection can be read.
        at_least: what is known all the same, as a lower bound.
    """

    reason: str
    message: str
    whole_broker: bool = False
    at_least: Depth | None = None


@dataclass(frozen=True, slots=True)
class QueueReading:
    """What is known of one queue of a pool.

    Attributes:
        name: the queue's name in the WorkerPool.
        result: its depth, or why there is none.
    """

    name: str
    result: Depth | Unreadable
