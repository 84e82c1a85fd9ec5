"""The backlog rule is ceil(jobs / step) * replicas, exactly, however large the numbers are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_operator.api.workerpool import BacklogRule
from workerpool_operator.scaling.backlog import backlog
from workerpool_operator.scaling.demand import Demand

counts = st.integers(min_value=0, max_value=2**63)


def demand(waiting: int, in_flight: int = 0) -> Demand:
    return Demand(waiting, in_flight, 0, (), ())


@pytest.mark.parametrize(
    ("waiting", "in_flight", "jobs", "replicas", "wanted"),
    [
        (0, 0, 50, 2, 0),
        (1, 0, 50, 2, 2),
        (49, 0, 50, 2, 2),
        (50, 0, 50, 2, 2),
        (51, 0, 50, 2, 4),
        (50, 1, 50, 2, 4),
        (120, 3, 50, 2, 6),
        (0, 1, 1, 1, 1),
        (7, 0, 1, 3, 21),
        (10, 0, 3, 1, 4),
        (9_007_199_254_740_993, 0, 1, 1, 9_007_199_254_740_993),  # 2**53 + 1: no float holds it
        (10**30, 0, 3, 1, 333_333_333_333_333_333_333_333_333_334),
    ],
)
def test_table(waiting: int, in_flight: int, jobs: int, replicas: int, wanted: int) -> None:
    assert backlog(BacklogRule(jobs=jobs, replicas=replicas), demand(waiting, in_flight))[0] == wanted


@pytest.mark.parametrize(
    ("rule", "formula"),
    [
        (BacklogRule(jobs=50, replicas=2), "ceil(123/50)*2 = 6"),
        (BacklogRule(jobs=50), "ceil(123/50) = 3"),
        (BacklogRule(jobs=1), "ceil(123/1) = 123"),
    ],
)
def test_the_formula_is_told_with_its_numbers(rule: BacklogRule, formula: str) -> None:
    assert backlog(rule, demand(120, 3))[1] == formula


@given(counts, counts, st.integers(1, 10**9), st.integers(1, 100_000))
def test_it_is_the_fewest_steps_that_take_in_every_job(waiting: int, in_flight: int, jobs: int, replicas: int) -> None:
    wanted, _ = backlog(BacklogRule(jobs=jobs, replicas=replicas), demand(waiting, in_flight))
    steps, rest = divmod(wanted, replicas)
    assert rest == 0
    assert steps * jobs >= waiting + in_flight > (steps - 1) * jobs


@given(counts, counts, st.integers(1, 1000), st.integers(1, 100))
def test_more_jobs_never_want_fewer_replicas(one: int, more: int, jobs: int, replicas: int) -> None:
    rule = BacklogRule(jobs=jobs, replicas=replicas)
    assert backlog(rule, demand(one))[0] <= backlog(rule, demand(one + more))[0]


@given(counts, counts)
def test_a_job_counts_the_same_waiting_or_in_flight(waiting: int, in_flight: int) -> None:
    rule = BacklogRule(jobs=7, replicas=3)
    assert backlog(rule, demand(waiting, in_flight)) == backlog(rule, demand(in_flight, waiting))
