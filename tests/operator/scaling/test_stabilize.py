"""Scaling down as the HorizontalPodAutoscaler does: to the most that was recommended within the window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.scaling.pools import one_a_job, pool, seen, watched
from workerpool_operator.api import Depth
from workerpool_operator.scaling import Reason
from workerpool_operator.scaling.stabilize import falls_at, highest, remember
from workerpool_operator.scaling.types import Recommendation


def test_a_pool_seen_for_the_first_time_keeps_its_replicas_for_the_window() -> None:
    empty = Depth(0, 0)
    first, later, over = watched(
        one_a_job(window=300), (0.0, seen(4, empty)), (299.0, seen(4, empty)), (300.0, seen(4, empty))
    )
    assert (first.replicas, first.reason, first.recheck_at) == (4, Reason.STABILIZING, 300.0)
    assert first.message == "0 waiting + 0 in flight: ceil(0/1) = 0, held at 4 within 300 s of stabilization"
    assert (later.replicas, later.recheck_at) == (4, 300.0)
    assert (over.replicas, over.reason, over.recheck_at) == (0, Reason.EMPTY, None)


def test_more_work_is_answered_at_once_whatever_the_window() -> None:
    first, more = watched(one_a_job(window=3600), (0.0, seen(1, Depth(1, 0))), (1.0, seen(1, Depth(9, 0))))
    assert (first.replicas, more.replicas, more.limited_by) == (1, 9, None)


def test_replicas_go_down_in_the_steps_in_which_the_work_did() -> None:
    """Wanted: 5 until 100, 3 until 200, then 0; with a window of 300 the falls come 300 later."""
    spec = one_a_job(window=300)
    decisions = watched(
        spec,
        (0.0, seen(5, Depth(5, 0))),
        (100.0, seen(5, Depth(3, 0))),
        (200.0, seen(5, Depth(0, 0))),
        (399.0, seen(5, Depth(0, 0))),
        (400.0, seen(5, Depth(0, 0))),
        (499.0, seen(3, Depth(0, 0))),
        (500.0, seen(3, Depth(0, 0))),
    )
    assert [decision.replicas for decision in decisions] == [5, 5, 5, 5, 3, 3, 0]
    assert [decision.recheck_at for decision in decisions] == [None, 400.0, 400.0, 400.0, 500.0, 500.0, None]


def test_work_that_comes_back_within_the_window_starts_it_anew() -> None:
    spec = one_a_job(window=300)
    *_, held, fallen = watched(
        spec,
        (0.0, seen(5, Depth(5, 0))),
        (10.0, seen(5, Depth(0, 0))),
        (200.0, seen(5, Depth(5, 0))),
        (210.0, seen(5, Depth(0, 0))),
        (509.0, seen(5, Depth(0, 0))),
        (510.0, seen(5, Depth(0, 0))),
    )
    assert (held.replicas, fallen.replicas) == (5, 0)


def test_a_window_of_zero_goes_down_at_once() -> None:
    decisions = watched(one_a_job(window=0), (0.0, seen(5, Depth(0, 0))), (0.0, seen(5, Depth(2, 0))))
    assert [(decision.replicas, decision.recheck_at) for decision in decisions] == [(0, None), (2, None)]


def test_a_hand_that_raises_replicas_above_what_was_wanted_is_undone() -> None:
    """As the HPA does: by hand is no recommendation."""
    *_, raised = watched(one_a_job(), (0.0, seen(2, Depth(2, 0))), (400.0, seen(8, Depth(2, 0))))
    assert raised.replicas == 2


def test_a_hand_that_raises_replicas_within_the_window_keeps_what_was_wanted_there() -> None:
    *_, raised = watched(
        one_a_job(), (0.0, seen(5, Depth(5, 0))), (1.0, seen(5, Depth(0, 0))), (2.0, seen(8, Depth(0, 0)))
    )
    assert raised.replicas == 5


def test_a_hand_that_lowers_replicas_within_the_window_is_left_alone_while_less_is_wanted() -> None:
    *_, lowered = watched(
        one_a_job(), (0.0, seen(5, Depth(5, 0))), (1.0, seen(5, Depth(0, 0))), (2.0, seen(1, Depth(0, 0)))
    )
    assert (lowered.replicas, lowered.reason) == (1, Reason.STABILIZING)


def test_a_hand_that_lowers_replicas_below_what_is_wanted_is_undone() -> None:
    *_, lowered = watched(one_a_job(), (0.0, seen(5, Depth(5, 0))), (1.0, seen(1, Depth(5, 0))))
    assert lowered.replicas == 5


def test_a_cap_that_was_lowered_holds_within_the_window_and_the_fall_is_still_awaited() -> None:
    (decision,) = watched(pool(at_most=5, window=300), (0.0, seen(9, Depth(1, 0))))
    assert (decision.replicas, decision.reason, decision.recheck_at) == (5, Reason.AT_MAXIMUM, 300.0)


@pytest.mark.parametrize(
    ("in_flight", "replicas", "held"), [(0, 8, 1), (1, 8, 1), (3, 8, 3), (8, 8, 8), (30, 8, 8), (2, 1, 1)]
)
def test_busy_workers_are_kept(in_flight: int, replicas: int, held: int) -> None:
    """50 jobs want one replica: without the floor all but one busy worker would go."""
    spec = pool(jobs=50, replicas=1, at_most=10, window=0)
    (decision,) = watched(spec, (0.0, seen(replicas, Depth(1, in_flight))))
    assert decision.replicas == held


def test_keeping_busy_workers_is_explained() -> None:
    (decision,) = watched(pool(jobs=50, replicas=1, window=0), (0.0, seen(4, Depth(0, 3))))
    assert (decision.reason, decision.limited_by) == (Reason.WORKERS_BUSY, Reason.WORKERS_BUSY)
    assert decision.message == "0 waiting + 3 in flight: ceil(3/50) = 1, held at 3 while 3 jobs are in flight"


def test_the_cap_stands_above_busy_workers() -> None:
    (decision,) = watched(pool(jobs=50, replicas=1, at_most=2, window=0), (0.0, seen(4, Depth(0, 4))))
    assert (decision.replicas, decision.reason) == (2, Reason.AT_MAXIMUM)


# -- properties ----------------------------------------------------------------------------------------------------

recommendations = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=60)
windows = st.integers(0, 120)


def told(history: list[tuple[int, int]], window: int) -> tuple[list[tuple[float, int]], tuple[Recommendation, ...]]:
    """Every recommendation with its moment, as `remember` was told of them one after the other."""
    now = 0.0
    kept: tuple[Recommendation, ...] = ()
    moments: list[tuple[float, int]] = []
    for pause, replicas in history:
        now += pause
        moments.append((now, replicas))
        kept = remember(kept, replicas, now, float(window))
    return moments, kept


@given(recommendations, windows)
def test_the_highest_is_the_most_that_was_wanted_within_the_window(history: list[tuple[int, int]], window: int) -> None:
    moments, kept = told(history, window)
    now, newest = moments[-1]
    ends = [moment for moment, _ in moments[1:]]
    held_until = zip(ends, (replicas for _, replicas in moments[:-1]), strict=True)
    assert highest(kept) == max([newest, *(replicas for until, replicas in held_until if until + window > now)])


@given(recommendations, windows)
def test_memory_falls_in_replicas_and_rises_in_time(history: list[tuple[int, int]], window: int) -> None:
    moments, kept = told(history, window)
    assert [one.replicas for one in kept] == sorted({one.replicas for one in kept}, reverse=True)
    assert [one.until for one in kept] == sorted(one.until for one in kept)
    assert kept[-1] == Recommendation(*moments[-1])


@given(recommendations, windows, st.integers(0, 20))
def test_to_have_wanted_more_never_gives_less(history: list[tuple[int, int]], window: int, more: int) -> None:
    _, kept = told(history, window)
    _, higher = told([(pause, replicas + more) for pause, replicas in history], window)
    assert highest(higher) == highest(kept) + more


@given(st.floats(0, 1e9), st.integers(1, 3600), st.integers(1, 20))
def test_at_the_moment_told_the_highest_is_gone(start: float, window: int, replicas: int) -> None:
    """Also where sums of floats round: a decision at `recheck_at` must not ask for itself again."""
    kept = remember(remember((), replicas, start, window), 0, start, window)
    at = falls_at(kept, window)
    assert at is not None
    assert highest(remember(kept, 0, at, window)) == 0
