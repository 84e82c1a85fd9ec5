"""The engine's life: takes in resources, waits until it has seen them all, leads or stands by.

Comes in: watch events out of `handlers.py`. Goes out: a store that is true, a reconciler that acts while this replica
leads, and answers to the probes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from workerpool_operator.api import BrokerSpec, QueueBrokerStatus, WorkerPoolSpec, WorkerPoolStatus
from workerpool_operator.api.meta import GROUP, Kind
from workerpool_operator.cluster import (
    ApiError,
    KubeClient,
    LeaseElector,
    ObjectRef,
    TargetKey,
    is_served,
    list_uids,
    resource_of,
)
from workerpool_operator.engine.reconciler import WATCHED_KINDS, Reconciler
from workerpool_operator.engine.store import Broker, Key, Pool, Store, Target
from workerpool_operator.metrics import Metrics
from workerpool_operator.settings import Settings

Document = Mapping[str, Any]
_M = TypeVar("_M", bound=BaseModel)

_log = logging.getLogger(__name__)
_TICK_SECONDS = 1.0
_KINDS: tuple[Kind, ...] = ("WorkerPool", "QueueBroker")


class Engine:
    """One replica of the operator."""

    def __init__(
        self,
        client: KubeClient,
        settings: Settings,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._store = Store()
        self._elector = (
            LeaseElector(client, settings.lease_namespace, settings.lease_name, settings.identity, clock)
            if settings.leader_election
            else None
        )
        self._reconciler = Reconciler(client, self._store, settings, metrics, clock, self._may_act)
        self._ticked_at = clock()
        self._served = asyncio.Event()
        self._synced = asyncio.Event()
        self._leading = asyncio.Event()
        self._changed = asyncio.Event()
        metrics.collect_pools(self._reconciler.samples)

    # -- probes ------------------------------------------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Whether every resource has been seen once."""
        return self._synced.is_set()

    def age(self) -> float:
        """Seconds since the slowest part of the engine last came round."""
        now = self._clock()
        return now - min(self._ticked_at, self._reconciler.oldest_sample(now))

    # -- resources ---------------------------------------------------------------------------------------------

    def on_pool(self, kind_of_event: str | None, body: Document) -> None:
        """A WorkerPool was seen, changed or deleted."""
        ref = _ref("WorkerPool", body)
        if kind_of_event == "DELETED":
            self._drop_pool((ref.namespace, ref.name), ref.uid)
            return
        generation, version = _versions(body)
        known = self._store.pools.get((ref.namespace, ref.name))
        if known is not None and version < known.resource_version:
            return
        if known is not None and known.ref.uid != ref.uid:
            self._drop_pool(known.key, known.ref.uid)
            known = None
        if known is not None and known.generation == generation:
            known.resource_version = version
            if not self._may_act():
                known.status = _status(WorkerPoolStatus, body)
                known.last_scale_time = known.status.last_scale_time
            return
        spec, invalid = _validated(WorkerPoolSpec, body)
        if known is None:
            status = _status(WorkerPoolStatus, body)
            created = body["metadata"].get("creationTimestamp", "")
            pool = Pool(
                ref, generation, version, created, spec, invalid, status, last_scale_time=status.last_scale_time
            )
            self._store.put_pool(pool)
        else:
            pool, former = known, known.target
            self._store.drop_pool(pool.key)
            pool.generation, pool.resource_version = generation, version
            pool.spec, pool.invalid = spec, invalid
            self._store.put_pool(pool)
            self._reconciler.target_moved(pool, former)
        self._reconciler.pool_changed(pool)

    def _drop_pool(self, key: Key, uid: str) -> None:
        known = self._store.pools.get(key)
        if known is not None and known.ref.uid == uid:
            self._store.drop_pool(key)
            self._reconciler.pool_gone(known)

    def on_broker(self, kind_of_event: str | None, body: Document) -> None:
        """A QueueBroker was seen, changed or deleted."""
        ref = _ref("QueueBroker", body)
        key = (ref.namespace, ref.name)
        known = self._store.brokers.get(key)
        if kind_of_event == "DELETED":
            self._drop_broker(key, ref.uid)
            return
        generation, version = _versions(body)
        if known is not None and version < known.resource_version:
            return
        if known is not None and (known.ref.uid, known.generation) == (ref.uid, generation):
            known.resource_version = version
            if not self._may_act():
                known.status = _status(QueueBrokerStatus, body)
            return
        spec, invalid = _validated(BrokerSpec, body)
        if known is not None and known.ref.uid == ref.uid:
            known.generation, known.resource_version = generation, version
            known.spec, known.invalid = spec, invalid
            self._reconciler.broker_changed(known)
            return
        if known is not None:
            self._drop_broker(key, known.ref.uid)
        broker = Broker(ref, generation, version, spec, invalid, _status(QueueBrokerStatus, body))
        self._store.brokers[key] = broker
        self._reconciler.broker_changed(broker)

    def _drop_broker(self, key: Key, uid: str) -> None:
        known = self._store.brokers.get(key)
        if known is not None and known.ref.uid == uid:
            del self._store.brokers[key]
            self._reconciler.broker_gone(known)

    def on_target(self, kind_of_event: str | None, body: Document) -> None:
        """A Deployment or StatefulSet was seen, changed or deleted."""
        metadata = body["metadata"]
        key = TargetKey(metadata["namespace"], body["apiVersion"], body["kind"], metadata["name"])
        if kind_of_event == "DELETED":
            self._drop_target(key, metadata["uid"])
            return
        target = Target(
            uid=metadata["uid"],
            replicas=body.get("spec", {}).get("replicas", 1),
            observed=body.get("status", {}).get("replicas", 0),
            resource_version=int(metadata["resourceVersion"]),
        )
        if self._store.put_target(key, target):
            self._reconciler.target_changed(key)

    def _drop_target(self, key: TargetKey, uid: str) -> None:
        known = self._store.targets.get(key)
        if known is not None and known.uid == uid:
            del self._store.targets[key]
            self._reconciler.target_changed(key)

    # -- life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Everything, until cancelled; then lets go of the Lease and of the brokers."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tick())
                group.create_task(self._resync())
                group.create_task(self._reconciler.run())
                group.create_task(self._follow_lead())
                await self._synced.wait()
                if self._elector is None:
                    self._on_lead(leading=True)
                else:
                    group.create_task(self._elector.run(lambda leading: self._on_lead(leading=leading)))
        finally:
            await self._reconciler.stop()

    async def until_served(self) -> None:
        """Return when the CRDs are there."""
        await self._served.wait()

    def _may_act(self) -> bool:
        return self._leading.is_set() and (self._elector is None or self._elector.leading)

    def _on_lead(self, *, leading: bool) -> None:
        self._metrics.leading.set(float(leading))
        if leading:
            self._leading.set()
        else:
            self._leading.clear()
        self._changed.set()

    async def _follow_lead(self) -> None:
        """Start and stop the reconciler with the lead, one after the other."""
        acting = False
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._leading.is_set() and not acting:
                acting = True
                self._reconciler.start()
            elif not self._leading.is_set() and acting:
                acting = False
                await self._reconciler.stop()

    async def _tick(self) -> None:
        while True:
            self._ticked_at = self._clock()
            await asyncio.sleep(_TICK_SECONDS)

    async def _await_crds(self) -> None:
        told = ""
        while not self._served.is_set():
            why = f"install the CustomResourceDefinitions of {GROUP}"
            try:
                if await is_served(self._client):
                    self._served.set()
                    return
            except ApiError as error:
                why = str(error)
            if why != told:
                _log.warning("WorkerPools cannot be watched yet: %s", why)
                told = why
            await asyncio.sleep(_TICK_SECONDS)

    async def _resync(self) -> None:
        """See whether all is known, then now and then whether what is known still exists.

        A watch that broke off may have missed a deletion, and a pool that is gone must not be scaled.
        """
        await self._await_crds()
        while True:
            try:
                complete = all([await self._compare(kind) for kind in _KINDS])
                await self._compare_targets()
            except ApiError as error:
                complete = False
                _log.warning("the resources cannot be listed: %s", error)
            if complete:
                self._synced.set()
            await asyncio.sleep(self._settings.resync_interval_seconds if self.synced else _TICK_SECONDS)

    async def _compare(self, kind: Kind) -> bool:
        """Drop what is gone; whether all that exists is known."""
        known: dict[str, Key] = {held.ref.uid: key for key, held in self._held(kind).items()}
        existing: set[str] = set()
        for namespace in self._settings.watched_namespaces or (None,):
            existing |= await list_uids(self._client, resource_of(kind), namespace)
        for uid in known.keys() - existing:
            # What came in since the list was asked for is in `known` no sooner than in the list's cache: it was
            # taken before the call.
            drop = self._drop_pool if kind == "WorkerPool" else self._drop_broker
            drop(known[uid], uid)
        return existing <= {held.ref.uid for held in self._held(kind).values()}

    async def _compare_targets(self) -> None:
        """Drop targets that are gone."""
        for (version, kind), plural in WATCHED_KINDS.items():
            known = {
                target.uid: key
                for key, target in self._store.targets.items()
                if (key.api_version, key.kind) == (version, kind)
            }
            if not known:
                continue
            existing: set[str] = set()
            for namespace in self._settings.watched_namespaces or (None,):
                existing |= await list_uids(self._client, (version, plural), namespace)
            for uid in known.keys() - existing:
                self._drop_target(known[uid], uid)

    def _held(self, kind: Kind) -> Mapping[Key, Pool | Broker]:
        return self._store.pools if kind == "WorkerPool" else self._store.brokers


def _ref(kind: Kind, body: Document) -> ObjectRef:
    metadata = body["metadata"]
    return ObjectRef(kind, metadata["namespace"], metadata["name"], metadata["uid"])


def _versions(body: Document) -> tuple[int, int]:
    """Generation and resource version."""
    metadata = body["metadata"]
    return int(metadata.get("generation", 0)), int(metadata["resourceVersion"])


def _validated(model: type[_M], body: Document) -> tuple[_M | None, str]:
    """The spec, or None and why: the API server may hold objects that an older CRD let in."""
    try:
        return model.model_validate(body.get("spec", {})), ""
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in ("spec", *first["loc"]))
        return None, f"{where}: {first['msg'].removeprefix('Value error, ')}"


def _status(model: type[_M], body: Document) -> _M:
    """The status that the object holds; an empty one where it holds none that can be read."""
    try:
        return model.model_validate(body.get("status") or {})
    except ValidationError:
        return model()
