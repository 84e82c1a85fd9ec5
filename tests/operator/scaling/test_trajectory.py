"""Random traces of depths, simulated with every decision acted on at once.

What must hold: deciding only when something changes and at `recheck_at` moves replicas exactly as deciding at every
tick does, and as the definition does when it is written down naively.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.operator.scaling.pools import lost, pool, seen
from workerpool_operator.api import Depth, Unreadable, WorkerPoolSpec
from workerpool_operator.scaling import PoolMemory, decide

Result = Depth | Unreadable


@dataclass(frozen=True)
class Phase:
    """A depth that stays for some ticks; `by_hand` sets the replicas at its beginning."""

    ticks: int
    result: Result
    by_hand: int | None = None


depths = st.one_of(
    st.builds(Depth, st.integers(0, 30), st.integers(0, 8), st.just(None)),
    st.builds(Depth, st.integers(0, 30), st.none(), st.none()),
)
unreadable = st.builds(lost, st.one_of(st.none(), depths))
by_hand = st.one_of(st.none(), st.none(), st.integers(0, 12))
phases = st.lists(st.builds(Phase, st.integers(1, 15), st.one_of(depths, depths, unreadable), by_hand), max_size=12)
readable = st.lists(st.builds(Phase, st.integers(1, 15), depths, by_hand), max_size=12)
pools = st.builds(
    lambda jobs, replicas, least, more, window: pool(
        jobs=jobs, replicas=replicas, at_least=least, at_most=least + more, window=window
    ),
    st.integers(1, 10),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(1, 10),
    st.integers(0, 20),
)
QUIET = 50


def trace(phases: list[Phase]) -> list[tuple[Result, int | None]]:
    """What is read at each tick and what a hand sets there; with a quiet end in which every window runs out."""
    ticks: list[tuple[Result, int | None]] = []
    for phase in [*phases, Phase(QUIET, Depth(0, 0))]:
        ticks += [(phase.result, phase.by_hand), *[(phase.result, None)] * (phase.ticks - 1)]
    return ticks


def ticking(spec: WorkerPoolSpec, ticks: list[tuple[Result, int | None]], replicas: int) -> list[int]:
    """Replicas after each tick, deciding at each."""
    memory: PoolMemory | None = None
    course: list[int] = []
    for now, (result, hand) in enumerate(ticks):
        replicas = replicas if hand is None else hand
        decision = decide(spec, memory, seen(replicas, result), float(now))
        memory, replicas = decision.memory, decision.replicas
        course.append(replicas)
    return course


def eventful(spec: WorkerPoolSpec, ticks: list[tuple[Result, int | None]], replicas: int) -> tuple[list[int], int]:
    """Replicas after each tick, deciding only when something changed, after acting, and when told to look again."""
    memory: PoolMemory | None = None
    recheck_at: float | None = None
    course: list[int] = []
    before: Result | None = None
    decisions = 0
    for now, (result, hand) in enumerate(ticks):
        changed = result != before or hand not in (None, replicas)
        replicas = replicas if hand is None else hand
        while changed or (recheck_at is not None and now >= recheck_at):
            decision = decide(spec, memory, seen(replicas, result), float(now))
            decisions += 1
            changed = decision.replicas != replicas
            memory, replicas, recheck_at = decision.memory, decision.replicas, decision.recheck_at
        before = result
        course.append(replicas)
    return course, decisions


def defined(spec: WorkerPoolSpec, ticks: list[tuple[Result, int | None]], replicas: int) -> list[int]:
    """The same by definition, for readable depths: all recommendations are kept and looked through each time."""
    window = spec.behavior.scale_down.stabilization_window_seconds
    rule = spec.scaling.backlog
    wanted: list[tuple[float, int]] = []
    seed = replicas if not ticks or ticks[0][1] is None else ticks[0][1]
    course: list[int] = []
    for now, (result, hand) in enumerate(ticks):
        assert isinstance(result, Depth)
        replicas = replicas if hand is None else hand
        in_flight = result.in_flight or 0
        want = -((-(result.waiting or 0) - in_flight) // rule.jobs) * rule.replicas
        # What was wanted at one tick was wanted until the next.
        recent = [replicas for tick, replicas in wanted if tick + 1 + window > now]
        recent += [seed] if window > now else []
        if want < replicas:
            want = max(want, min(replicas, max([want, *recent])), min(replicas, in_flight))
        wanted.append((now, -((-(result.waiting or 0) - in_flight) // rule.jobs) * rule.replicas))
        replicas = min(max(want, spec.min_replicas), spec.max_replicas)
        course.append(replicas)
    return course


@given(pools, readable, st.integers(0, 15))
@settings(max_examples=120)
def test_replicas_move_as_the_definition_says(spec: WorkerPoolSpec, phases: list[Phase], replicas: int) -> None:
    ticks = trace(phases)
    assert ticking(spec, ticks, replicas) == defined(spec, ticks, replicas)


@given(pools, phases, st.integers(0, 15))
@example(pool(jobs=1, replicas=1, at_most=5, window=10), [Phase(3, lost(Depth(4)))], 0)
@example(pool(jobs=50, replicas=1, at_most=5, window=10), [Phase(3, Depth(0, 4))], 9)
@settings(max_examples=120)
def test_deciding_only_when_told_to_is_as_good_as_deciding_always(
    spec: WorkerPoolSpec, phases: list[Phase], replicas: int
) -> None:
    ticks = trace(phases)
    assert eventful(spec, ticks, replicas)[0] == ticking(spec, ticks, replicas)


@given(pools, phases, st.integers(0, 15))
def test_a_quiet_pool_is_let_alone(spec: WorkerPoolSpec, phases: list[Phase], replicas: int) -> None:
    """A handful of decisions for each change, not one for each tick."""
    _, decisions = eventful(spec, trace(phases), replicas)
    assert decisions <= 6 * (len(phases) + 1)


@given(pools, phases, st.integers(0, 15))
def test_a_decision_that_was_acted_on_stands(spec: WorkerPoolSpec, phases: list[Phase], replicas: int) -> None:
    """Looking again at the same moment changes nothing, so that an operator never argues with itself."""
    memory: PoolMemory | None = None
    for now, (result, hand) in enumerate(trace(phases)):
        replicas = replicas if hand is None else hand
        first = decide(spec, memory, seen(replicas, result), float(now))
        again = decide(spec, first.memory, seen(first.replicas, result), float(now))
        assert again.replicas == first.replicas
        memory, replicas = again.memory, again.replicas


@given(pools, phases, st.integers(0, 15))
def test_invariants(spec: WorkerPoolSpec, phases: list[Phase], replicas: int) -> None:
    memory: PoolMemory | None = None
    for now, (result, hand) in enumerate(trace(phases)):
        replicas = replicas if hand is None else hand
        decision = decide(spec, memory, seen(replicas, result), float(now))
        assert decision.recheck_at is None or decision.recheck_at > now
        assert decision.replicas >= min(replicas, spec.min_replicas)
        if isinstance(result, Unreadable):
            assert decision.replicas >= replicas
            assert decision.replicas <= max(replicas, spec.max_replicas)
        else:
            assert spec.min_replicas <= decision.replicas <= spec.max_replicas
            assert decision.replicas >= min(replicas, result.in_flight or 0, spec.max_replicas)
        assert (decision.limited_by is None) == (decision.reason in ("Backlog", "Empty"))
        memory, replicas = decision.memory, decision.replicas


@given(pools, readable, st.integers(0, 15))
def test_an_emptied_pool_ends_at_its_minimum(spec: WorkerPoolSpec, phases: list[Phase], replicas: int) -> None:
    assert ticking(spec, trace(phases), replicas)[-1] == spec.min_replicas


@given(pools, phases, st.integers(0, 15))
def test_memory_stays_small(spec: WorkerPoolSpec, phases: list[Phase], replicas: int) -> None:
    memory: PoolMemory | None = None
    for now, (result, hand) in enumerate(trace(phases)):
        replicas = replicas if hand is None else hand
        decision = decide(spec, memory, seen(replicas, result), float(now))
        memory, replicas = decision.memory, decision.replicas
        window = spec.behavior.scale_down.stabilization_window_seconds
        assert len(memory.recommendations) <= window + 1
