"""Adds up the queues of a pool.

Comes in: the reading of each queue. Goes out: a `Demand` in jobs, and which of its parts are not known.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from workerpool_operator.api import QueueReading, Unreadable


@dataclass(frozen=True, slots=True)
class Demand:
    """Jobs of all readable queues of a pool.

    Attributes:
        waiting: jobs ready to be claimed.
        in_flight: jobs known to be claimed; a lower bound when `in_flight_unknown` names queues.
        delayed: jobs known to be due later.
        in_flight_unknown: queues whose jobs in flight cannot be counted.
        unreadable: queues that could not be read, with the reason: then all counts are lower bounds.
    """

    waiting: int
    in_flight: int
    delayed: int
    in_flight_unknown: tuple[str, ...]
    unreadable: tuple[tuple[str, Unreadable], ...]

    @property
    def jobs(self) -> int:
        """Jobs that need a worker now."""
        return self.waiting + self.in_flight

    def describe(self) -> str:
        """The counts as the start of a sentence: `120 waiting + 3 in flight`."""
        text = f"{self.waiting} waiting + {self.in_flight} in flight"
        if self.in_flight_unknown:
            text += f" (unknown for {_names(self.in_flight_unknown)})"
        return text

    def describe_unreadable(self) -> str:
        """Which queues cannot be read and why, as one clause for each."""
        return "; ".join(f"queue {name}: {error.message}" for name, error in self.unreadable)


def _names(names: tuple[str, ...], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def add_up(readings: Iterable[QueueReading]) -> Demand:
    """The demand of a pool with these queues. A count that is not known adds nothing, and is named."""
    waiting = in_flight = delayed = 0
    unknown: list[str] = []
    unreadable: list[tuple[str, Unreadable]] = []
    for reading in readings:
        result = reading.result
        if isinstance(result, Unreadable):
            unreadable.append((reading.name, result))
            depth = result.at_least
        elif result.waiting is None:
            unreadable.append((reading.name, Unreadable("WaitingUnknown", "the broker does not tell what waits")))
            depth = result
        else:
            depth = result
            if depth.in_flight is None:
                unknown.append(reading.name)
        if depth is not None:
            waiting += depth.waiting or 0
            in_flight += depth.in_flight or 0
            delayed += depth.delayed or 0
    return Demand(waiting, in_flight, delayed, tuple(unknown), tuple(unreadable))
