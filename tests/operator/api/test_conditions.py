"""Conditions keep the time of their last change of status, as metav1.Condition says; and status is what is patched."""

from __future__ import annotations

import pytest

from workerpool_operator.api import Condition, ConditionStatus, QueueStatus, WorkerPoolStatus, merge_conditions

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def ready(
    status: ConditionStatus = "True",
    *,
    reason: str = "Scaling",
    message: str = "",
    since: str | None = None,
    type_: str = "Ready",
    generation: int | None = None,
) -> Condition:
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=generation,
    )


@pytest.mark.parametrize(
    ("before", "after", "since"),
    [
        ([], ready(), NOW),
        ([ready(since=THEN)], ready(), THEN),
        ([ready(since=THEN)], ready(reason="Other"), THEN),
        ([ready(since=THEN)], ready(message="other"), THEN),
        ([ready(since=THEN, generation=1)], ready(generation=2), THEN),
        ([ready(since=THEN)], ready("False"), NOW),
        ([ready("Unknown", since=THEN)], ready("False"), NOW),
        ([ready(since=None)], ready(), NOW),
        ([ready(since=THEN, type_="Active")], ready(), NOW),
    ],
)
def test_the_time_moves_only_with_the_status(before: list[Condition], after: Condition, since: str) -> None:
    (merged,) = merge_conditions(before, [after], NOW)
    assert merged.last_transition_time == since


def test_a_merger_is_what_holds_now_in_its_order() -> None:
    before = [ready(since=THEN, type_="Gone"), ready(since=THEN)]
    merged = merge_conditions(before, [ready(type_="New"), ready(reason="Fresh", message="m", generation=3)], NOW)
    assert [condition.type for condition in merged] == ["New", "Ready"]
    assert merged[1] == ready(reason="Fresh", message="m", generation=3, since=THEN)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (ready(since=NOW), True),
        (ready("False"), False),
        (ready(reason="Other"), False),
        (ready(message="other"), False),
        (ready(generation=2), False),
        (ready(type_="Active"), False),
    ],
)
def test_two_conditions_are_compared_without_their_times(other: Condition, *, same: bool) -> None:
    assert ready(since=THEN).same_as(other) is same


def test_a_status_that_lost_a_number_takes_it_out_of_the_object() -> None:
    """A merge patch leaves out what it does not name, and removes what it sets to null."""
    document = WorkerPoolStatus(replicas=3).document()
    assert document["replicas"] == 3
    assert document["waiting"] is None
    assert document["inFlight"] is None


def test_a_status_survives_the_way_through_the_api_server() -> None:
    status = WorkerPoolStatus(
        observed_generation=2,
        replicas=1,
        desired_replicas=2,
        waiting=2**40,
        queues=(QueueStatus(name="a", waiting=1), QueueStatus(name="b", error="away")),
        last_scale_time=THEN,
        reason="Backlog",
        message="1 waiting",
        conditions=(ready(since=THEN),),
    )
    assert WorkerPoolStatus.model_validate(status.document()) == status


def test_a_status_of_another_version_is_read_as_far_as_it_is_known() -> None:
    status = WorkerPoolStatus.model_validate(
        {"replicas": 3, "fromTheFuture": {"a": 1}, "queues": [{"name": "q", "x": 1}]}
    )
    assert (status.replicas, [queue.name for queue in status.queues]) == (3, ["q"])
