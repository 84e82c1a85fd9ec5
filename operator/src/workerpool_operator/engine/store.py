"""All that the engine knows of the cluster, with the indexes that it needs.

Comes in: objects as they are watched. Goes out: pools, brokers and targets by key, and which pools hang on which.
Only what the engine needs of an object is kept.
"""

import dataclasses
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeVar

from workerpool_operator.api import (
    BrokerSpec,
    Depth,
    QueueBrokerStatus,
    QueueReading,
    Unreadable,
    WorkerPoolSpec,
    WorkerPoolStatus,
)
from workerpool_operator.api.meta import Kind
from workerpool_operator.brokers import Endpoint, Layout
from workerpool_operator.cluster import ObjectRef, TargetKey
from workerpool_operator.scaling import Decision, PoolMemory

Key = tuple[str, str]
"""Namespace and name."""
ObjectKey = tuple[Kind, Key]

_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class Binding:
    """Where one queue of a pool is read."""

    endpoint: Endpoint
    layout: Layout


@dataclass(slots=True)
class Problem:
    """Why a pool is not scaled at all: a condition's reason and message."""

    reason: str
    message: str


@dataclass(slots=True, eq=False)
class Pool:
    """A WorkerPool and what is known of it.

    Attributes:
        ref: for events.
        resource_version: of the object as it was last seen; what is older is not taken.
        spec: None when the object does not validate; then `invalid` says why.
        status: as it was last written or read.
        bindings: by queue name; an Unreadable where the queue cannot be resolved; None while that is not known yet.
        readings: by queue name; missing before the first reading.
        scale_problem: why the last scale patch failed.
        decisions: scale operations by (direction, reason), for metrics.
    """

    ref: ObjectRef
    generation: int
    resource_version: int
    created: str
    spec: WorkerPoolSpec | None
    invalid: str = ""
    status: WorkerPoolStatus = field(default_factory=WorkerPoolStatus)
    bindings: dict[str, Binding | Unreadable | None] = field(default_factory=dict)
    readings: dict[str, Depth | Unreadable] = field(default_factory=dict)
    memory: PoolMemory | None = None
    decision: Decision | None = None
    problem: Problem | None = None
    scale_problem: Problem | None = None
    scaling: bool = False
    last_scale_time: str | None = None
    decisions: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.ref.namespace, self.ref.name

    @property
    def target(self) -> TargetKey | None:
        """What it scales."""
        if self.spec is None:
            return None
        ref = self.spec.scale_target_ref
        return TargetKey(self.ref.namespace, ref.api_version, ref.kind, ref.name)

    @property
    def age_order(self) -> tuple[str, str, str]:
        """Sorts the older pool first, in the same order on every replica."""
        return self.created, self.ref.namespace, self.ref.name

    def queue_readings(self) -> tuple[QueueReading, ...] | None:
        """One reading for each queue of the spec; None while any has not been read once."""
        if self.spec is None or any(queue.name not in self.readings for queue in self.spec.queues):
            return None
        return tuple(QueueReading(queue.name, self.readings[queue.name]) for queue in self.spec.queues)


@dataclass(slots=True, eq=False)
class Broker:
    """A QueueBroker and what is known of it."""

    ref: ObjectRef
    generation: int
    resource_version: int
    spec: BrokerSpec | None
    invalid: str = ""
    status: QueueBrokerStatus = field(default_factory=QueueBrokerStatus)
    endpoint: Endpoint | Unreadable | None = None

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.ref.namespace, self.ref.name


@dataclass(frozen=True, slots=True)
class Target:
    """A scale target.

    Attributes:
        uid: of the object.
        replicas: that its spec asks for.
        observed: replicas that exist, as its status says.
        resource_version: orders what was watched and what was written.
    """

    uid: str
    replicas: int
    observed: int
    resource_version: int


class Store:
    """Pools, brokers and targets with their indexes. Not safe for threads."""

    def __init__(self) -> None:
        self.pools: dict[Key, Pool] = {}
        self.brokers: dict[Key, Broker] = {}
        self.targets: dict[TargetKey, Target] = {}
        self._by_target: dict[TargetKey, set[Key]] = defaultdict(set)
        self._by_broker: dict[Key, set[Key]] = defaultdict(set)

    def put_pool(self, pool: Pool) -> None:
        """Add a pool, or take the place of the one under its key."""
        self.drop_pool(pool.key)
        self.pools[pool.key] = pool
        if pool.target is not None:
            self._by_target[pool.target].add(pool.key)
        for broker in _referenced(pool):
            self._by_broker[broker].add(pool.key)

    def drop_pool(self, key: Key) -> Pool | None:
        """Remove a pool; the one that was there, if any."""
        pool = self.pools.pop(key, None)
        if pool is None:
            return None
        if pool.target is not None:
            _discard(self._by_target, pool.target, key)
        for broker in _referenced(pool):
            _discard(self._by_broker, broker, key)
        return pool

    def target_of(self, pool: Pool) -> Target | None:
        """What the pool scales; None while it is not known, or the pool names none."""
        key = pool.target
        return self.targets.get(key) if key is not None else None

    def pools_of_target(self, target: TargetKey) -> list[Pool]:
        """All pools that name this target, the oldest first."""
        return sorted((self.pools[key] for key in self._by_target.get(target, ())), key=lambda pool: pool.age_order)

    def pools_of_broker(self, broker: Key) -> list[Pool]:
        """All pools with a queue that refers to this QueueBroker."""
        return [self.pools[key] for key in self._by_broker.get(broker, ())]

    def put_target(self, key: TargetKey, target: Target) -> bool:
        """Take what was watched or read; False when it is older than what is known, or the same."""
        known = self.targets.get(key)
        if known is not None and known.uid == target.uid:
            if target.resource_version < known.resource_version:
                return False
            if dataclasses.replace(target, resource_version=known.resource_version) == known:
                self.targets[key] = target
                return False
        self.targets[key] = target
        return True


def _referenced(pool: Pool) -> set[Key]:
    if pool.spec is None:
        return set()
    namespace = pool.ref.namespace
    return {(namespace, queue.broker_ref.name) for queue in pool.spec.queues if queue.broker_ref is not None}


def _discard(index: dict[_K, set[Key]], at: _K, key: Key) -> None:
    index[at].discard(key)
    if not index[at]:
        del index[at]
