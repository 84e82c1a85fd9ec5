"""What a pool or a broker says of itself: conditions, reason, message. Pure.

Comes in: a pool with its readings, decision and problem. Goes out: its `WorkerPoolStatus` without times of change.
"""

from dataclasses import dataclass

from workerpool_operator.api import (
    Condition,
    Depth,
    QueueBrokerStatus,
    QueueStatus,
    Unreadable,
    WorkerPoolStatus,
)
from workerpool_operator.api.conditions import ConditionStatus
from workerpool_operator.engine.sampling import Health
from workerpool_operator.engine.store import Broker, Pool, Target
from workerpool_operator.scaling import Decision, Reason

_LIMITS = {
    Reason.AT_MAXIMUM: "more is wanted than maxReplicas allows",
    Reason.AT_MINIMUM: "less is wanted than minReplicas allows",
    Reason.STABILIZING: "the stabilization window holds replicas",
    Reason.WORKERS_BUSY: "busy workers are kept",
    Reason.DEPTH_UNKNOWN: "a depth is not known",
}


@dataclass(frozen=True, slots=True)
class _State:
    """A condition without its type and times."""

    status: ConditionStatus
    reason: str
    message: str


def pool_status(pool: Pool, target: Target | None) -> WorkerPoolStatus:
    """The status of a pool as it is now. Times of conditions are left to the writer."""
    decision = pool.decision if pool.problem is None else None
    ready = _ready(pool, decision)
    states = {
        "Ready": ready,
        "BrokersReachable": _brokers_reachable(pool),
        "Active": _active(target),
        "ScalingLimited": _limited(decision),
        "Suspended": _suspended(pool),
    }
    depths = [result for result in pool.readings.values() if isinstance(result, Depth)]
    return WorkerPoolStatus(
        observed_generation=pool.generation,
        replicas=target.observed if target else None,
        desired_replicas=decision.replicas if decision else None,
        waiting=_total([depth.waiting for depth in depths]),
        in_flight=_total([depth.in_flight for depth in depths]),
        delayed=_total([depth.delayed for depth in depths]),
        queues=tuple(_queue_status(pool, queue.name) for queue in pool.spec.queues) if pool.spec else (),
        last_scale_time=pool.last_scale_time,
        reason=decision.reason if decision else ready.reason,
        message=decision.message if decision else ready.message,
        conditions=tuple(
            Condition(
                type=type_,
                status=state.status,
                reason=state.reason,
                message=state.message,
                observed_generation=pool.generation,
            )
            for type_, state in states.items()
        ),
    )


def _ready(pool: Pool, decision: Decision | None) -> _State:
    problem = pool.problem or pool.scale_problem
    if problem is not None:
        return _State("False", problem.reason, problem.message)
    unreadable = _unreadable(pool)
    if unreadable:
        return _State("False", unreadable[0][1].reason, _sentence(unreadable))
    if decision is None:
        return _State("Unknown", "Starting", "the queues have not been read yet")
    if decision.reason is Reason.SUSPENDED:
        return _State("True", "Suspended", decision.message)
    return _State("True", "Scaling", "the queues are read and the replicas follow them")


def _brokers_reachable(pool: Pool) -> _State:
    if pool.spec is None:
        return _State("Unknown", "InvalidSpec", pool.invalid)
    unreadable = _unreadable(pool)
    if unreadable:
        return _State("False", unreadable[0][1].reason, _sentence(unreadable))
    if pool.queue_readings() is None:
        return _State("Unknown", "Starting", "the queues have not been read yet")
    return _State("True", "QueuesRead", f"{len(pool.spec.queues)} of {len(pool.spec.queues)} queues are read")


def _active(target: Target | None) -> _State:
    if target is None:
        return _State("Unknown", "NoTarget", "the scale target is not known")
    if target.replicas:
        return _State("True", "AboveZero", f"{target.replicas} replicas are asked for")
    return _State("False", "AtZero", "no replicas are asked for")


def _limited(decision: Decision | None) -> _State:
    if decision is None or decision.limited_by is None:
        return _State("False", "NotLimited", "the replicas are what the rule wants")
    return _State("True", decision.limited_by, _LIMITS[decision.limited_by])


def _suspended(pool: Pool) -> _State:
    if pool.spec is not None and pool.spec.suspend:
        return _State("True", "Suspended", "spec.suspend is true: replicas are left alone")
    return _State("False", "NotSuspended", "spec.suspend is false")


def _unreadable(pool: Pool) -> list[tuple[str, Unreadable]]:
    """Queues that cannot be read, in the order of the spec: the first one's reason is the condition's."""
    results = ((queue.name, pool.readings.get(queue.name)) for queue in (pool.spec.queues if pool.spec else ()))
    return [(name, result) for name, result in results if isinstance(result, Unreadable)]


def _sentence(unreadable: list[tuple[str, Unreadable]]) -> str:
    return "; ".join(f"queue {name}: {error.message}" for name, error in unreadable)


def _queue_status(pool: Pool, name: str) -> QueueStatus:
    match pool.readings.get(name):
        case Depth(waiting, in_flight, delayed):
            return QueueStatus(name=name, waiting=waiting, in_flight=in_flight, delayed=delayed)
        case Unreadable(_, message):
            return QueueStatus(name=name, error=message)
        case None:
            return QueueStatus(name=name)


def _total(counts: list[int | None]) -> int | None:
    """The sum of the known counts; None when none is known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def alike(before: WorkerPoolStatus, after: WorkerPoolStatus) -> bool:
    """Whether both tell the same decision and the same conditions, numbers of jobs apart."""

    def gist(status: WorkerPoolStatus) -> tuple[object, ...]:
        conditions = tuple((c.type, c.status, c.reason) for c in status.conditions)
        errors = tuple((queue.name, queue.error) for queue in status.queues)
        return (
            status.observed_generation,
            status.desired_replicas,
            status.reason,
            status.last_scale_time,
            conditions,
            errors,
        )

    return gist(before) == gist(after)


def same_numbers(before: WorkerPoolStatus, after: WorkerPoolStatus) -> bool:
    """Whether nothing at all differs, times of conditions apart."""
    if before.model_copy(update={"conditions": ()}) != after.model_copy(update={"conditions": ()}):
        return False
    old = {condition.type: condition for condition in before.conditions}
    return len(old) == len(after.conditions) and all(
        (known := old.get(condition.type)) is not None and known.same_as(condition) for condition in after.conditions
    )


def broker_status(broker: Broker, health: Health | None) -> QueueBrokerStatus | None:
    """The status of a QueueBroker; None while nothing is known of it."""
    server: str | None = None
    latency: int | None = None
    if broker.spec is None:
        state = _State("False", "InvalidSpec", broker.invalid)
    elif isinstance(broker.endpoint, Unreadable):
        state = _State("False", broker.endpoint.reason, broker.endpoint.message)
    elif broker.endpoint is None or health is None:
        return None
    elif health.error is not None:
        state = _State("False", health.error.reason, health.error.message)
    else:
        server = health.server.version if health.server else None
        latency = round(health.latency * 1000)
        state = _State("True", "Connected", f"{server or 'the broker'} at {broker.endpoint.address()} answers")
    connected = Condition(
        type="Connected",
        status=state.status,
        reason=state.reason,
        message=state.message,
        observed_generation=broker.generation,
    )
    return QueueBrokerStatus(
        observed_generation=broker.generation,
        server_version=server,
        latency_milliseconds=latency,
        queues=health.queues if health is not None else 0,
        conditions=(connected,),
    )
