"""Tables of decisions: the rule, the caps, what is not known, suspension, and what each says of itself."""

import pytest

from tests.operator.scaling.pools import lost, one_a_job, pool, seen, watched
from workerpool_operator.api import Depth, WorkerPoolSpec
from workerpool_operator.scaling import Decision, Observation, PoolMemory, Reason, decide
from workerpool_operator.scaling.types import Recommendation


def settled(spec: WorkerPoolSpec, observation: Observation, now: float = 10_000.0) -> Decision:
    """The decision of a pool that has wanted nothing for longer than any window."""
    return decide(spec, PoolMemory((Recommendation(0.0, 0),)), observation, now)


@pytest.mark.parametrize(
    ("spec", "observation", "replicas", "reason", "message"),
    [
        (pool(at_most=10), seen(0, Depth(120, 3)), 6, Reason.BACKLOG, "120 waiting + 3 in flight: ceil(123/50)*2 = 6"),
        (
            pool(at_most=5),
            seen(0, Depth(120, 3)),
            5,
            Reason.AT_MAXIMUM,
            "120 waiting + 3 in flight: ceil(123/50)*2 = 6, capped at maxReplicas 5",
        ),
        (pool(at_most=6), seen(0, Depth(120, 3)), 6, Reason.BACKLOG, "120 waiting + 3 in flight: ceil(123/50)*2 = 6"),
        (pool(), seen(0, Depth(0, 0)), 0, Reason.EMPTY, "0 waiting + 0 in flight: ceil(0/50)*2 = 0"),
        (pool(), seen(4, Depth(0, 0)), 0, Reason.EMPTY, "0 waiting + 0 in flight: ceil(0/50)*2 = 0"),
        (
            pool(at_least=1),
            seen(0, Depth(0, 0)),
            1,
            Reason.AT_MINIMUM,
            "0 waiting + 0 in flight: ceil(0/50)*2 = 0, raised to minReplicas 1",
        ),
        (
            pool(at_least=3),
            seen(3, Depth(1, 0)),
            3,
            Reason.AT_MINIMUM,
            "1 waiting + 0 in flight: ceil(1/50)*2 = 2, raised to minReplicas 3",
        ),
        (
            pool(jobs=1, replicas=1),
            seen(0, Depth(2)),
            2,
            Reason.BACKLOG,
            "2 waiting + 0 in flight (unknown for q0): ceil(2/1) = 2",
        ),
        (
            pool(queues=2),
            seen(0, Depth(30, 1), Depth(20, 0)),
            4,
            Reason.BACKLOG,
            "50 waiting + 1 in flight: ceil(51/50)*2 = 4",
        ),
    ],
)
def test_what_is_wanted_is_given_within_the_caps_and_explained(
    spec: WorkerPoolSpec, observation: Observation, replicas: int, reason: Reason, message: str
) -> None:
    decision = settled(spec, observation)
    assert (decision.replicas, decision.reason, decision.message) == (replicas, reason, message)


@pytest.mark.parametrize(
    ("reason", "limited"),
    [
        (Reason.BACKLOG, None),
        (Reason.EMPTY, None),
        (Reason.AT_MAXIMUM, Reason.AT_MAXIMUM),
        (Reason.AT_MINIMUM, Reason.AT_MINIMUM),
    ],
)
def test_limited_by_says_what_kept_the_rule_from_its_number(reason: Reason, limited: Reason | None) -> None:
    decisions = {
        Reason.BACKLOG: settled(pool(), seen(0, Depth(1, 0))),
        Reason.EMPTY: settled(pool(), seen(0, Depth(0, 0))),
        Reason.AT_MAXIMUM: settled(pool(), seen(0, Depth(1000, 0))),
        Reason.AT_MINIMUM: settled(pool(at_least=1), seen(0, Depth(0, 0))),
    }
    assert (decisions[reason].reason, decisions[reason].limited_by) == (reason, limited)


def test_a_million_million_jobs_make_no_more_than_the_cap() -> None:
    assert settled(one_a_job(at_most=7), seen(0, Depth(10**12, 10**12))).replicas == 7


def test_the_caps_hold_for_what_a_hand_has_set() -> None:
    assert settled(pool(at_least=2, at_most=5), seen(100, Depth(0, 0))).replicas == 2
    assert settled(pool(at_least=2, at_most=5), seen(0, Depth(0, 0))).replicas == 2


# -- queues that cannot be read ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "observation", "replicas", "message"),
    [
        (pool(), seen(4, lost()), 4, "held at 4 replicas; queue q0: the broker is away"),
        (pool(), seen(0, lost()), 0, "held at 0 replicas; queue q0: the broker is away"),
        # Above the cap it is a reader's word against nobody's: nothing is taken away.
        (pool(at_most=5), seen(9, lost()), 9, "held at 9 replicas; queue q0: the broker is away"),
        (pool(at_least=2), seen(0, lost()), 2, "raised to 2 (minReplicas); queue q0: the broker is away"),
        (
            pool(queues=2),
            seen(1, Depth(60, 0), lost()),
            4,
            "raised to 4 (at least 60 waiting + 0 in flight: ceil(60/50)*2 = 4); queue q1: the broker is away",
        ),
        (
            pool(queues=2, at_most=3),
            seen(1, Depth(60, 0), lost(message="gone")),
            3,
            (
                "raised to 3 (at least 60 waiting + 0 in flight: ceil(60/50)*2 = 4, capped at maxReplicas 3); "
                "queue q1: gone"
            ),
        ),
        (pool(queues=2), seen(4, Depth(0, 0), lost()), 4, "held at 4 replicas; queue q1: the broker is away"),
        (
            pool(),
            seen(0, lost(Depth(60))),
            4,
            "raised to 4 (at least 60 waiting + 0 in flight: ceil(60/50)*2 = 4); queue q0: the broker is away",
        ),
        (pool(), seen(5, lost(Depth(60))), 5, "held at 5 replicas; queue q0: the broker is away"),
    ],
)
def test_an_unreadable_queue_makes_the_rest_a_lower_bound(
    spec: WorkerPoolSpec, observation: Observation, replicas: int, message: str
) -> None:
    decision = settled(spec, observation)
    assert (decision.replicas, decision.message) == (replicas, message)
    assert (decision.reason, decision.limited_by) == (Reason.DEPTH_UNKNOWN, Reason.DEPTH_UNKNOWN)
    assert decision.recheck_at is None


def test_an_unreadable_queue_holds_for_ever() -> None:
    decisions = watched(pool(window=10), *[(float(day * 86_400), seen(4, lost())) for day in range(30)])
    assert {decision.replicas for decision in decisions} == {4}


def test_a_depth_that_comes_back_starts_the_window_anew() -> None:
    """What happened while nothing could be seen is not held against the workers that are there."""
    *_, back, later = watched(
        one_a_job(window=300),
        (0.0, seen(4, Depth(4, 0))),
        (10.0, seen(4, lost())),
        (5000.0, seen(4, Depth(0, 0))),
        (5300.0, seen(4, Depth(0, 0))),
    )
    assert (back.replicas, back.recheck_at, later.replicas) == (4, 5300.0, 0)


def test_what_a_lower_bound_has_raised_is_stabilized_like_any_other_recommendation() -> None:
    raised, empty, later = watched(
        one_a_job(window=300),
        (0.0, seen(0, lost(Depth(5)))),
        (1.0, seen(5, Depth(0, 0))),
        (301.0, seen(5, Depth(0, 0))),
    )
    assert [raised.replicas, empty.replicas, later.replicas] == [5, 5, 0]


# -- suspension --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [0, 3, 99])
def test_a_suspended_pool_is_left_alone_even_outside_its_caps(replicas: int) -> None:
    decision = settled(pool(at_least=1, at_most=5, suspend=True), seen(replicas, Depth(1000, 0)))
    assert (decision.replicas, decision.reason) == (replicas, Reason.SUSPENDED)
    assert decision.message == f"suspended at {replicas} replicas"
    assert decision.recheck_at is None


def test_what_was_set_while_suspended_is_kept_for_the_window_afterwards() -> None:
    suspended = decide(pool(suspend=True), None, seen(4, Depth(0, 0)), 0.0)
    resumed = decide(pool(window=300), suspended.memory, seen(4, Depth(0, 0)), 1000.0)
    assert (resumed.replicas, resumed.recheck_at) == (4, 1300.0)
