"""What a pool and a broker say of themselves, as tables: state in, conditions, reason and message out."""

from __future__ import annotations

from typing import Any

import pytest

from workerpool_operator.api import BrokerSpec, Condition, Depth, Unreadable, WorkerPoolSpec, WorkerPoolStatus
from workerpool_operator.brokers import BrokerError, RedisEndpoint, ServerInfo
from workerpool_operator.cluster import ObjectRef
from workerpool_operator.engine.conditions import alike, broker_status, pool_status, same_numbers
from workerpool_operator.engine.sampling import Health
from workerpool_operator.engine.store import Broker, Pool, Problem, Target
from workerpool_operator.scaling import Decision, PoolMemory, Reason
from workerpool_operator.scaling.types import Recommendation

MEMORY = PoolMemory((Recommendation(0.0, 0),))
TARGET = Target("uid", replicas=3, observed=2, resource_version=1)
AWAY = Unreadable("Unreachable", "Redis is away")


def spec(queues: int = 2, *, suspend: bool = False) -> WorkerPoolSpec:
    return WorkerPoolSpec.model_validate(
        {
            "scaleTargetRef": {"name": "video"},
            "maxReplicas": 5,
            "queues": [
                {"name": f"q{number}", "brokerRef": {"name": "b"}, "redisList": {"key": "k"}}
                for number in range(queues)
            ],
            "scaling": {"backlog": {"jobs": 1}},
            "suspend": suspend,
        }
    )


def pool(
    *,
    readings: dict[str, Depth | Unreadable] | None = None,
    decision: Decision | None = None,
    suspend: bool = False,
    **fields: Any,
) -> Pool:
    read: dict[str, Depth | Unreadable] = readings if readings is not None else {"q0": Depth(1, 0), "q1": Depth(2, 0)}
    ref = ObjectRef("WorkerPool", "default", "video", "uid")
    return Pool(ref, 7, 1, "", spec(suspend=suspend), readings=read, decision=decision, **fields)


def decided(reason: Reason = Reason.BACKLOG, limited_by: Reason | None = None, replicas: int = 3) -> Decision:
    return Decision(replicas, reason, "3 waiting", limited_by, MEMORY)


def states(status: WorkerPoolStatus) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


GOOD = {
    "Ready": ("True", "Scaling"),
    "BrokersReachable": ("True", "QueuesRead"),
    "Active": ("True", "AboveZero"),
    "ScalingLimited": ("False", "NotLimited"),
    "Suspended": ("False", "NotSuspended"),
}
CASES: dict[str, tuple[Pool, Target | None, dict[str, tuple[str, str]], tuple[str, str]]] = {
    "all is well": (pool(decision=decided()), TARGET, {}, ("Backlog", "3 waiting")),
    "at zero": (
        pool(decision=decided(Reason.EMPTY)),
        Target("uid", 0, 0, 1),
        {"Active": ("False", "AtZero")},
        ("Empty", "3 waiting"),
    ),
    "at the cap": (
        pool(decision=decided(Reason.AT_MAXIMUM, Reason.AT_MAXIMUM)),
        TARGET,
        {"ScalingLimited": ("True", "AtMaximum")},
        ("AtMaximum", "3 waiting"),
    ),
    "nothing known yet": (
        pool(readings={}),
        None,
        {
            "Ready": ("Unknown", "Starting"),
            "BrokersReachable": ("Unknown", "Starting"),
            "Active": ("Unknown", "NoTarget"),
        },
        ("Starting", "the queues have not been read yet"),
    ),
    "one queue not read yet": (
        pool(readings={"q0": Depth(1)}),
        TARGET,
        {"Ready": ("Unknown", "Starting"), "BrokersReachable": ("Unknown", "Starting")},
        ("Starting", "the queues have not been read yet"),
    ),
    "a broker away": (
        pool(readings={"q0": Depth(1), "q1": AWAY}, decision=decided(Reason.DEPTH_UNKNOWN, Reason.DEPTH_UNKNOWN)),
        TARGET,
        {
            "Ready": ("False", "Unreachable"),
            "BrokersReachable": ("False", "Unreachable"),
            "ScalingLimited": ("True", "DepthUnknown"),
        },
        ("DepthUnknown", "3 waiting"),
    ),
    "a target missing": (
        pool(decision=decided(), problem=Problem("TargetMissing", "Deployment video does not exist")),
        None,
        {"Ready": ("False", "TargetMissing"), "Active": ("Unknown", "NoTarget")},
        ("TargetMissing", "Deployment video does not exist"),
    ),
    "a patch that failed": (
        pool(decision=decided(), scale_problem=Problem("ScaleFailed", "refused")),
        TARGET,
        {"Ready": ("False", "ScaleFailed")},
        ("Backlog", "3 waiting"),
    ),
    "suspended": (
        pool(decision=decided(Reason.SUSPENDED), suspend=True),
        TARGET,
        {"Ready": ("True", "Suspended"), "Suspended": ("True", "Suspended")},
        ("Suspended", "3 waiting"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pool_tells(name: str) -> None:
    case, target, different, (reason, message) = CASES[name]
    status = pool_status(case, target)
    assert states(status) == GOOD | different
    assert (status.reason, status.message) == (reason, message)


def test_an_invalid_pool_tells_what_is_wrong_with_it() -> None:
    ref = ObjectRef("WorkerPool", "default", "video", "uid")
    invalid = Pool(ref, 7, 1, "", None, "spec.queues: wrong", problem=Problem("InvalidSpec", "spec.queues: wrong"))
    status = pool_status(invalid, None)
    assert states(status)["Ready"] == ("False", "InvalidSpec")
    assert states(status)["BrokersReachable"] == ("Unknown", "InvalidSpec")
    assert (status.reason, status.message, status.queues) == ("InvalidSpec", "spec.queues: wrong", ())


def test_conditions_are_about_the_generation_that_was_seen() -> None:
    status = pool_status(pool(decision=decided()), TARGET)
    assert status.observed_generation == 7
    assert {condition.observed_generation for condition in status.conditions} == {7}


def test_replicas_are_those_that_exist_and_desired_those_that_are_decided() -> None:
    status = pool_status(pool(decision=decided(replicas=4)), TARGET)
    assert (status.replicas, status.desired_replicas) == (2, 4)
    assert pool_status(pool(), None).desired_replicas is None


@pytest.mark.parametrize(
    ("readings", "waiting", "in_flight", "delayed"),
    [
        ({"q0": Depth(1, 2, 3), "q1": Depth(10, 20, 30)}, 11, 22, 33),
        ({"q0": Depth(1, None, None), "q1": Depth(10, 20, 30)}, 11, 20, 30),
        ({"q0": Depth(1), "q1": Depth(2)}, 3, None, None),
        ({"q0": Depth(1, 1), "q1": AWAY}, 1, 1, None),
        ({"q0": AWAY, "q1": AWAY}, None, None, None),
        ({}, None, None, None),
    ],
)
def test_a_number_that_is_not_known_is_left_out(
    readings: dict[str, Depth | Unreadable], waiting: int | None, in_flight: int | None, delayed: int | None
) -> None:
    status = pool_status(pool(readings=readings), TARGET)
    assert (status.waiting, status.in_flight, status.delayed) == (waiting, in_flight, delayed)


def test_each_queue_is_told_in_the_order_of_the_spec() -> None:
    status = pool_status(pool(readings={"q1": AWAY, "q0": Depth(1, None, 3)}), TARGET)
    first, second = status.queues
    assert (first.name, first.waiting, first.in_flight, first.delayed, first.error) == ("q0", 1, None, 3, None)
    assert (second.name, second.waiting, second.error) == ("q1", None, "Redis is away")


def test_the_first_unreadable_queue_of_the_spec_gives_the_reason_and_all_are_named() -> None:
    other = Unreadable("QueueMissing", "no such queue")
    status = pool_status(pool(readings={"q1": AWAY, "q0": other}, decision=decided()), TARGET)
    (ready,) = (condition for condition in status.conditions if condition.type == "Ready")
    assert (ready.reason, ready.message) == ("QueueMissing", "queue q0: no such queue; queue q1: Redis is away")


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.value in "AtMaximum AtMinimum Stabilizing"])
def test_every_limit_is_explained(reason: Reason) -> None:
    status = pool_status(pool(decision=decided(reason, reason)), TARGET)
    (limited,) = (condition for condition in status.conditions if condition.type == "ScalingLimited")
    assert limited.message


def condition(**fields: Any) -> Condition:
    return Condition(**({"type": "Ready", "status": "True", "reason": "Scaling", "message": "m"} | fields))


@pytest.mark.parametrize(
    ("change", "gist", "equal"),
    [
        ({}, True, True),
        ({"waiting": 2}, True, False),
        ({"replicas": 2}, True, False),
        ({"message": "other"}, True, False),
        ({"conditions": (condition(last_transition_time="2026-01-01T00:00:00Z"),)}, True, True),
        ({"conditions": (condition(message="other"),)}, True, False),
        ({"conditions": (condition(status="False"),)}, False, False),
        ({"conditions": (condition(reason="Other"),)}, False, False),
        ({"conditions": ()}, False, False),
        ({"desired_replicas": 2}, False, False),
        ({"reason": "Empty"}, False, False),
        ({"observed_generation": 2}, False, False),
        ({"last_scale_time": "2026-01-01T00:00:00Z"}, False, False),
    ],
)
def test_two_statuses_are_compared_by_their_gist_and_by_all(
    change: dict[str, object], *, gist: bool, equal: bool
) -> None:
    before = WorkerPoolStatus(waiting=1, replicas=1, reason="Backlog", message="m", conditions=(condition(),))
    after = before.model_copy(update=change)
    assert alike(before, after) is gist
    assert same_numbers(before, after) is equal


# -- brokers -------------------------------------------------------------------------------------------------------

ENDPOINT = RedisEndpoint("redis://eve:hunter2@redis:6379/0")
HEALTHY = Health(None, ServerInfo("Redis 7.0.15"), 0.0042, 3)


def queue_broker(endpoint: RedisEndpoint | Unreadable | None, *, valid: bool = True) -> Broker:
    parsed = BrokerSpec.model_validate({"redis": {"url": ENDPOINT.url}}) if valid else None
    ref = ObjectRef("QueueBroker", "default", "media", "uid")
    return Broker(ref, 5, 1, parsed, "" if valid else "spec.redis: wrong", endpoint=endpoint)


@pytest.mark.parametrize(
    ("broker", "health", "state"),
    [
        (queue_broker(ENDPOINT), HEALTHY, ("True", "Connected", "Redis 7.0.15 at redis:6379/0 answers")),
        (
            queue_broker(ENDPOINT),
            Health(BrokerError("Timeout", "no answer"), None, 2.0, 3),
            ("False", "Timeout", "no answer"),
        ),
        (queue_broker(Unreadable("SecretMissing", "gone")), None, ("False", "SecretMissing", "gone")),
        (queue_broker(None, valid=False), None, ("False", "InvalidSpec", "spec.redis: wrong")),
    ],
)
def test_a_broker_tells(broker: Broker, health: Health | None, state: tuple[str, str, str]) -> None:
    status = broker_status(broker, health)
    assert status is not None
    (connected,) = status.conditions
    assert (connected.status, connected.reason, connected.message) == state
    assert (connected.type, connected.observed_generation, status.observed_generation) == ("Connected", 5, 5)
    assert "hunter2" not in repr(status)


def test_a_broker_that_answers_tells_its_version_its_latency_and_its_queues() -> None:
    status = broker_status(queue_broker(ENDPOINT), HEALTHY)
    assert status is not None
    assert (status.server_version, status.latency_milliseconds, status.queues) == ("Redis 7.0.15", 4, 3)


@pytest.mark.parametrize(("endpoint", "health"), [(None, HEALTHY), (ENDPOINT, None), (None, None)])
def test_a_broker_of_which_nothing_is_known_says_nothing(endpoint: RedisEndpoint | None, health: Health | None) -> None:
    assert broker_status(queue_broker(endpoint), health) is None
