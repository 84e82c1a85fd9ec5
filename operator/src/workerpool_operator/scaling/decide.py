"""The one decision function: rule, then stabilization, then busy workers, then the caps.

Comes in: spec, memory, observation, time. Goes out: a Decision. An unreadable queue makes the known depth a
lower bound: it may raise replicas and never lowers them.
"""

from workerpool_operator.api import WorkerPoolSpec
from workerpool_operator.scaling.backlog import backlog
from workerpool_operator.scaling.demand import Demand, add_up
from workerpool_operator.scaling.stabilize import falls_at, highest, remember
from workerpool_operator.scaling.types import Decision, Observation, PoolMemory, Reason, Recommendation


def decide(spec: WorkerPoolSpec, memory: PoolMemory | None, observation: Observation, now: float) -> Decision:
    """How many replicas the pool should have.

    Args:
        spec: the pool.
        memory: of the last decision; None at first sight, when the present replicas count as recommended, so that
            a restarted operator or a new pool takes nothing away before it has watched for the window.
        observation: depths and present replicas.
        now: seconds on a monotonic clock.
    """
    current = observation.replicas
    kept = memory.recommendations if memory is not None else (Recommendation(now, current),)
    if spec.suspend:
        held = PoolMemory((Recommendation(now, current),))
        return Decision(current, Reason.SUSPENDED, f"suspended at {current} replicas", None, held)
    demand = add_up(observation.readings)
    wanted, formula = backlog(spec.scaling.backlog, demand)
    window = float(spec.behavior.scale_down.stabilization_window_seconds)
    if demand.unreadable:
        # What was wanted last is taken to be wanted still, so that a depth that comes back starts the window anew.
        kept = remember(kept, max(wanted, kept[-1].replicas), now, window)
        return _lower_bound(spec, demand, (wanted, formula), current, PoolMemory(kept))
    kept = remember(kept, wanted, now, window)
    return _known(spec, demand, (wanted, formula), current, kept, window)


def _lower_bound(
    spec: WorkerPoolSpec, demand: Demand, rule: tuple[int, str], current: int, memory: PoolMemory
) -> Decision:
    """Some depth is not known: at least what the known depths want, and never less than there is."""
    wanted, formula = rule
    floor = max(spec.min_replicas, min(wanted, spec.max_replicas))
    why = demand.describe_unreadable()
    if floor > current:
        known = f"at least {demand.describe()}: {formula}" if wanted > spec.min_replicas else "minReplicas"
        known += f", capped at maxReplicas {spec.max_replicas}" if wanted > spec.max_replicas else ""
        return Decision(
            floor, Reason.DEPTH_UNKNOWN, f"raised to {floor} ({known}); {why}", Reason.DEPTH_UNKNOWN, memory
        )
    return Decision(current, Reason.DEPTH_UNKNOWN, f"held at {current} replicas; {why}", Reason.DEPTH_UNKNOWN, memory)


def _known(
    spec: WorkerPoolSpec,
    demand: Demand,
    rule: tuple[int, str],
    current: int,
    kept: tuple[Recommendation, ...],
    window: float,
) -> Decision:
    wanted, formula = rule
    memory = PoolMemory(kept)
    sentence = f"{demand.describe()}: {formula}"
    replicas = wanted
    reason = Reason.BACKLOG if demand.jobs else Reason.EMPTY
    limited_by: Reason | None = None
    recheck_at: float | None = None

    if wanted < current:
        stabilized = min(current, highest(kept))
        busy = min(current, demand.in_flight)
        if stabilized > wanted and stabilized >= busy:
            replicas, limited_by, recheck_at = stabilized, Reason.STABILIZING, falls_at(kept, window)
            sentence += f", held at {stabilized} within {window:.0f} s of stabilization"
        elif busy > wanted:
            replicas, limited_by, recheck_at = busy, Reason.WORKERS_BUSY, falls_at(kept, window)
            sentence += f", held at {busy} while {demand.in_flight} jobs are in flight"

    if replicas > spec.max_replicas:
        replicas, limited_by = spec.max_replicas, Reason.AT_MAXIMUM
        sentence += f", capped at maxReplicas {spec.max_replicas}"
    elif replicas < spec.min_replicas:
        replicas, limited_by, recheck_at = spec.min_replicas, Reason.AT_MINIMUM, None
        sentence += f", raised to minReplicas {spec.min_replicas}"
    return Decision(replicas, limited_by or reason, sentence, limited_by, memory, recheck_at)
