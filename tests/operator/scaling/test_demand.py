"""Queues add up; what is not known adds nothing, is named, and is never taken for a zero."""

import pytest

from tests.operator.scaling.pools import lost
from workerpool_operator.api import Depth, QueueReading, Unreadable
from workerpool_operator.scaling.demand import Demand, add_up


def of(*results: Depth | Unreadable) -> Demand:
    return add_up(QueueReading(name, result) for name, result in zip("abcdef", results, strict=False))


@pytest.mark.parametrize(
    ("results", "waiting", "in_flight", "delayed"),
    [
        ((), 0, 0, 0),
        ((Depth(5, 1, 2),), 5, 1, 2),
        ((Depth(5, 1, 2), Depth(10, 20, 30)), 15, 21, 32),
        ((Depth(5, None, None), Depth(1, 2, 3)), 6, 2, 3),
        ((lost(), Depth(1, 2, 3)), 1, 2, 3),
        ((lost(Depth(7)), Depth(1, 2, 3)), 8, 2, 3),
        ((lost(Depth(None, 4)), Depth(1, 2, 3)), 1, 6, 3),
    ],
)
def test_sums(results: tuple[Depth | Unreadable, ...], waiting: int, in_flight: int, delayed: int) -> None:
    demand = of(*results)
    assert (demand.waiting, demand.in_flight, demand.delayed) == (waiting, in_flight, delayed)


def test_jobs_that_are_due_later_need_no_worker_now() -> None:
    assert of(Depth(5, 1, 1000)).jobs == 6


def test_a_queue_without_a_count_in_flight_is_named() -> None:
    demand = of(Depth(5), Depth(1, 2), Depth(0))
    assert demand.in_flight_unknown == ("a", "c")
    assert demand.describe() == "6 waiting + 2 in flight (unknown for a, c)"


def test_many_names_are_cut_short() -> None:
    assert of(*[Depth(1)] * 5).describe() == "5 waiting + 0 in flight (unknown for a, b, c and 2 more)"


def test_an_unreadable_queue_is_named_with_its_mend() -> None:
    demand = of(Depth(1, 1), lost(message="Redis is away"), lost(message="no such queue"))
    assert [name for name, _ in demand.unreadable] == ["b", "c"]
    assert demand.describe_unreadable() == "queue b: Redis is away; queue c: no such queue"


def test_a_depth_without_waiting_is_unreadable_and_its_rest_counts() -> None:
    demand = of(Depth(None, 4, 2))
    assert [(name, error.reason) for name, error in demand.unreadable] == [("a", "WaitingUnknown")]
    assert (demand.waiting, demand.in_flight, demand.delayed) == (0, 4, 2)
