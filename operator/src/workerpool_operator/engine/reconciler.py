"""Takes each pool from what was read to what is written: bind, decide, scale, tell.

Comes in: changed readings, targets, brokers, Secrets. Goes out: scale patches, events, and marks for the status
writer. Everything but the patches themselves runs without waiting, so that one pool never delays another.
"""

import asyncio
import datetime
import logging
from collections.abc import Callable, Coroutine, Hashable, Iterable

from workerpool_operator.api import (
    BrokerSpec,
    Condition,
    Depth,
    QueueBrokerStatus,
    QueueSpec,
    Unreadable,
    WorkerPoolStatus,
    merge_conditions,
)
from workerpool_operator.api.meta import StatusModel
from workerpool_operator.brokers import Endpoint
from workerpool_operator.cluster import (
    NOT_SCALABLE,
    ApiError,
    EventRecorder,
    KubeClient,
    ObjectRef,
    Scale,
    ScaleClient,
    SecretReader,
    TargetKey,
    patch_status,
)
from workerpool_operator.engine.bindings import bind_broker, bind_queue
from workerpool_operator.engine.conditions import alike, broker_status, pool_status, same_numbers
from workerpool_operator.engine.sampling import Callbacks, Health, Result, Sampler, Samplers, Subscriber
from workerpool_operator.engine.secret_cache import SecretCache
from workerpool_operator.engine.status_writer import StatusWriter
from workerpool_operator.engine.store import Binding, Broker, Key, ObjectKey, Pool, Problem, Store, Target
from workerpool_operator.metrics import Metrics, PoolSample
from workerpool_operator.scaling import Decision, Observation, decide
from workerpool_operator.settings import Settings

_log = logging.getLogger(__name__)

# Patches under way at once: more make a burst no faster, the API server serialises them.
_MOST_PATCHES = 64
_MOST_LOOKUPS = 16
_RETRY_SECONDS = 1.0
_POLL_SECONDS = 2.0
_REPLICAS_SECONDS = 1.0
# Seen through the watch, with their plurals; any other kind is read now and then.
WATCHED_KINDS = {("apps/v1", "Deployment"): "deployments", ("apps/v1", "StatefulSet"): "statefulsets"}


class Reconciler:
    """Decides and acts for all pools of the store while `may_act` says so."""

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        settings: Settings,
        metrics: Metrics,
        clock: Callable[[], float],
        may_act: Callable[[], bool],
    ) -> None:
        self._client = client
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._may_act = may_act
        self._scales = ScaleClient(client)
        self._secrets = SecretCache(SecretReader(client), self._on_secret, settings.secret_interval_seconds)
        self._samplers = Samplers(self._open_sampler, metrics.brokers)
        self._callbacks = Callbacks(self._on_readings, self._on_health)
        self._events = EventRecorder(client, settings.identity, clock)
        self._status = StatusWriter(
            self._write_status,
            clock,
            writes_per_second=settings.status_writes_per_second,
        )
        self._missing: dict[TargetKey, Problem] = {}
        self._looked_up: set[TargetKey] = set()
        self._patches = asyncio.Semaphore(_MOST_PATCHES)
        self._lookups = asyncio.Semaphore(_MOST_LOOKUPS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._rechecks: dict[Key, asyncio.TimerHandle] = {}
        self._brokers_at: dict[Endpoint, set[Key]] = {}
        self._health: dict[Endpoint, Health] = {}
        self._active = False

    # -- lifecycle ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """All that goes on in the background, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._secrets.run())
            group.create_task(self._events.run())
            group.create_task(self._status.run())
            group.create_task(self._poll_targets())

    def start(self) -> None:
        """Begin to read brokers and to act, for all that the store holds."""
        self._active = True
        for broker in self._store.brokers.values():
            self._bind_broker(broker)
        for pool in self._store.pools.values():
            self._bind_pool(pool)
            self.evaluate(pool)

    async def stop(self) -> None:
        """Let go of the brokers, and forget what only one who acts may know."""
        self._active = False
        for timer in self._rechecks.values():
            timer.cancel()
        self._rechecks.clear()
        for pool in self._store.pools.values():
            pool.bindings, pool.readings, pool.memory, pool.decision = {}, {}, None, None
        for broker in self._store.brokers.values():
            broker.endpoint = None
        self._brokers_at.clear()
        self._health.clear()
        await self._samplers.close_all()

    def oldest_sample(self, now: float) -> float:
        """When the sampler that is furthest behind finished its last batch (seconds)."""
        return self._samplers.oldest_finish(now)

    # -- what changed ------------------------------------------------------------------------------------------

    def pool_changed(self, pool: Pool) -> None:
        """A pool is new, or its spec is."""
        if not self._active:
            return
        self._bind_pool(pool)
        self._evaluate_target(pool.target, besides=pool)

    def pool_gone(self, pool: Pool) -> None:
        """A pool was deleted. Its target keeps the replicas that it has."""
        for name in list(pool.bindings):
            self._unbind(pool, name)
        self._secrets.hold(_user(pool), frozenset())
        self._status.forget(_user(pool))
        if (timer := self._rechecks.pop(pool.key, None)) is not None:
            timer.cancel()
        self._evaluate_target(pool.target)

    def target_moved(self, pool: Pool, former: TargetKey | None) -> None:
        """A pool names another target than before: those of the former one may go on."""
        if former != pool.target:
            pool.memory = pool.decision = pool.scale_problem = None
            self._evaluate_target(former)

    def broker_changed(self, broker: Broker) -> None:
        """A QueueBroker is new, or its spec is."""
        if not self._active:
            return
        self._bind_broker(broker)
        self._rebind(self._store.pools_of_broker(broker.key))

    def broker_gone(self, broker: Broker) -> None:
        """A QueueBroker was deleted."""
        self._unbind_broker(broker)
        self._secrets.hold(_user(broker), frozenset())
        self._status.forget(_user(broker))
        if self._active:
            self._rebind(self._store.pools_of_broker(broker.key))

    def target_changed(self, key: TargetKey) -> None:
        """A target is new, changed or gone."""
        if key in self._store.targets:
            self._missing.pop(key, None)
        self._evaluate_target(key)

    def _on_secret(self, secret: Key) -> None:
        if not self._active:
            return
        for kind, key in self._secrets.users(secret):
            if kind == "WorkerPool":
                self._rebind([self._store.pools[key]])
            else:
                self.broker_changed(self._store.brokers[key])

    def _on_readings(self, changed: list[tuple[Subscriber, Result]]) -> None:
        pools: dict[Key, Pool] = {}
        for (key, queue), result in changed:
            pool = self._store.pools.get(key)
            if pool is not None and queue in pool.bindings:
                pool.readings[queue] = result
                pools[key] = pool
        for pool in pools.values():
            self.evaluate(pool)

    def _on_health(self, endpoint: Endpoint, health: Health) -> None:
        before = self._health.get(endpoint)
        self._health[endpoint] = health
        if health.error is not None and health.error.wants_new_credentials:
            self._refresh_secrets(endpoint)
        if before is None or _gist(before) != _gist(health):
            for key in self._brokers_at.get(endpoint, ()):
                self._mark_broker(self._store.brokers[key])

    def _refresh_secrets(self, endpoint: Endpoint) -> None:
        """Read again the Secrets that this endpoint was made from: the password may have been rotated."""
        for broker in self._brokers_at.get(endpoint, ()):
            self._refresh(broker[0], self._store.brokers[broker].spec)
        sampler = self._samplers.get(endpoint)
        for key, name in sampler.subscribers() if sampler is not None else ():
            pool = self._store.pools[key]
            for queue in _queues(pool):
                if queue.name == name:
                    self._refresh(key[0], self._broker_spec(pool, queue))

    def _refresh(self, namespace: str, spec: BrokerSpec | None) -> None:
        for name in _secret_names(spec):
            self._secrets.refresh((namespace, name))

    # -- binding -----------------------------------------------------------------------------------------------

    def _rebind(self, pools: Iterable[Pool]) -> None:
        for pool in list(pools):
            self._bind_pool(pool)
            self.evaluate(pool)

    def _bind_pool(self, pool: Pool) -> None:
        """Read each queue of the pool where its spec says, and those only."""
        namespace = pool.key[0]
        queues = {queue.name: queue for queue in _queues(pool)}
        needed = frozenset((namespace, name) for queue in queues.values() for name in _secret_names(queue.broker))
        self._secrets.hold(_user(pool), needed)
        for name in [name for name in pool.bindings if name not in queues]:
            self._unbind(pool, name)
        for name, queue in queues.items():
            binding = bind_queue(
                namespace, queue, self._store.brokers, self._secrets.get, in_cluster=self._settings.in_cluster
            )
            if name not in pool.bindings or pool.bindings[name] != binding:
                self._unbind(pool, name)
                self._bind(pool, name, binding)

    def _bind(self, pool: Pool, name: str, binding: Binding | Unreadable | None) -> None:
        pool.bindings[name] = binding
        if isinstance(binding, Binding):
            subscriber = (pool.key, name)
            self._samplers.hold(binding.endpoint, subscriber).subscribe(binding.layout, subscriber)
        elif binding is not None:
            pool.readings[name] = binding

    def _unbind(self, pool: Pool, name: str) -> None:
        binding = pool.bindings.pop(name, None)
        pool.readings.pop(name, None)
        if isinstance(binding, Binding):
            subscriber = (pool.key, name)
            if (sampler := self._samplers.get(binding.endpoint)) is not None:
                sampler.unsubscribe(binding.layout, subscriber)
            self._release(binding.endpoint, subscriber)

    def _bind_broker(self, broker: Broker) -> None:
        """Keep a QueueBroker connected, with or without pools, so that its status is true."""
        namespace = broker.key[0]
        self._secrets.hold(_user(broker), frozenset((namespace, name) for name in _secret_names(broker.spec)))
        endpoint = (
            bind_broker(namespace, broker.spec, None, self._secrets.get, in_cluster=self._settings.in_cluster)
            if broker.spec
            else None
        )
        if endpoint != broker.endpoint:
            self._unbind_broker(broker)
            broker.endpoint = endpoint
            if endpoint is not None and not isinstance(endpoint, Unreadable):
                self._brokers_at.setdefault(endpoint, set()).add(broker.key)
                self._samplers.hold(endpoint, _user(broker))
        self._mark_broker(broker)

    def _unbind_broker(self, broker: Broker) -> None:
        endpoint, broker.endpoint = broker.endpoint, None
        if endpoint is None or isinstance(endpoint, Unreadable):
            return
        self._brokers_at.get(endpoint, set()).discard(broker.key)
        self._release(endpoint, _user(broker))

    def _release(self, endpoint: Endpoint, user: Hashable) -> None:
        self._samplers.release(endpoint, user)
        if self._samplers.get(endpoint) is None:
            self._health.pop(endpoint, None)
            self._brokers_at.pop(endpoint, None)

    def _open_sampler(self, endpoint: Endpoint) -> Sampler:
        return Sampler(
            endpoint,
            self._callbacks,
            self._metrics.brokers,
            interval=self._settings.sample_interval_seconds,
            timeout=self._settings.broker_timeout_seconds,
            clock=self._clock,
        )

    def _broker_spec(self, pool: Pool, queue: QueueSpec) -> BrokerSpec | None:
        if queue.broker_ref is None:
            return queue.broker
        broker = self._store.brokers.get((pool.key[0], queue.broker_ref.name))
        return broker.spec if broker is not None else None

    # -- deciding ----------------------------------------------------------------------------------------------

    def _evaluate_target(self, target: TargetKey | None, besides: Pool | None = None) -> None:
        pools = self._store.pools_of_target(target) if target is not None else []
        if besides is not None and besides not in pools:
            pools.append(besides)
        for pool in pools:
            self.evaluate(pool)

    def evaluate(self, pool: Pool) -> None:
        """Decide anew what the pool should have, and see to it. Does not wait, and does not raise."""
        if not self._active or not self._exists(pool):
            return
        try:
            self._evaluate(pool)
        except Exception:  # noqa: BLE001 - what goes wrong with one pool must not stop the others
            _log.exception("%s/%s cannot be decided", *pool.key)
            pool.problem = Problem("InternalError", "the operator failed to decide; its log says why")
        self._mark_pool(pool)

    def _exists(self, pool: Pool) -> bool:
        """False once it was deleted, also while something was under way for it."""
        return self._store.pools.get(pool.key) is pool

    def _evaluate(self, pool: Pool) -> None:
        pool.problem = self._problem(pool)
        target = self._store.target_of(pool)
        readings = pool.queue_readings()
        if pool.problem is None and target is not None and pool.spec is not None and readings is not None:
            now = self._clock()
            pool.decision = decide(pool.spec, pool.memory, Observation(readings, target.replicas), now)
            pool.memory = pool.decision.memory
            self._recheck(pool, pool.decision.recheck_at, now)
            if pool.decision.replicas == target.replicas:
                pool.scale_problem = None
            elif not pool.scaling:
                pool.scaling = True
                self._spawn(self._scale(pool))

    def _problem(self, pool: Pool) -> Problem | None:
        """Why nothing can be decided for the pool at all."""
        target = pool.target
        if target is None:
            return Problem("InvalidSpec", pool.invalid)
        oldest = self._store.pools_of_target(target)[0]
        if oldest is not pool:
            return Problem(
                "TargetConflict",
                f"{target} is scaled by the older WorkerPool {oldest.key[1]}; "
                "delete one of the two, or name another target",
            )
        if target in self._store.targets:
            return None
        if target in self._missing:
            return self._missing[target]
        self._spawn(self._look_up(target))
        return Problem("Starting", f"{target} is being looked up")

    def _recheck(self, pool: Pool, at: float | None, now: float) -> None:
        """Evaluate the pool again at a time (seconds), though nothing should change until then."""
        if (timer := self._rechecks.pop(pool.key, None)) is not None:
            timer.cancel()
        if at is not None:
            loop = asyncio.get_running_loop()
            # A millisecond late: the recommendation that held has then left its window for certain.
            self._rechecks[pool.key] = loop.call_later(max(0.0, at - now) + 0.001, self.evaluate, pool)

    # -- targets -----------------------------------------------------------------------------------------------

    async def _look_up(self, target: TargetKey) -> None:
        """Find out whether a target exists that no watch has shown."""
        if target in self._looked_up:
            return
        self._looked_up.add(target)
        try:
            async with self._lookups:
                if target not in self._store.targets or (target.api_version, target.kind) not in WATCHED_KINDS:
                    await self._read_target(target)
        finally:
            self._looked_up.discard(target)

    async def _read_target(self, target: TargetKey) -> None:
        try:
            scale = await self._scales.read(target)
        except ApiError as error:
            self._target_failed(target, error)
            return
        was_missing = self._missing.pop(target, None) is not None
        if self._take_scale(target, scale) or was_missing:
            self._evaluate_target(target)

    def _target_failed(self, target: TargetKey, error: ApiError) -> None:
        """Tell why a target cannot be scaled. A server that is only away changes nothing."""
        if error.not_found:
            problem = Problem("TargetMissing", f"{target} does not exist in namespace {target.namespace}; create it")
            if error.reason == NOT_SCALABLE:
                problem = Problem("TargetNotScalable", str(error))
            self._store.targets.pop(target, None)
        elif error.forbidden:
            mend = "allow it with the chart's rbac.extraScaleTargets, or in its role"
            problem = Problem("TargetForbidden", f"the operator may not scale {target}: {error}; {mend}")
        else:
            return
        if self._missing.get(target) != problem:
            self._missing[target] = problem
            self._evaluate_target(target)

    def _take_scale(self, target: TargetKey, scale: Scale) -> bool:
        known = self._store.targets.get(target)
        observed = known.observed if known is not None and known.uid == scale.uid else scale.observed
        return self._store.put_target(target, Target(scale.uid, scale.replicas, observed, scale.resource_version))

    async def _poll_targets(self) -> None:
        """Read targets that no watch shows: those of other kinds, and those that are not known."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            if not self._active:
                continue
            wanted = {pool.target for pool in self._store.pools.values() if pool.target is not None}
            self._missing = {target: problem for target, problem in self._missing.items() if target in wanted}
            unseen = [
                target
                for target in wanted
                if target not in self._store.targets or (target.api_version, target.kind) not in WATCHED_KINDS
            ]
            await asyncio.gather(*(self._look_up(target) for target in unseen))

    async def _scale(self, pool: Pool) -> None:
        """Patch the target until it has what is decided."""
        try:
            while self._due(pool) is not None:
                # Without the lead for a moment: it is renewed, or its end clears the decision.
                if not self._may_act() or not await self._patch(pool):
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            pool.scaling = False

    def _due(self, pool: Pool) -> tuple[TargetKey, Target, Decision] | None:
        """What is to be patched, if anything is."""
        decision, key = pool.decision, pool.target
        target = self._store.targets.get(key) if key is not None else None
        if key is None or target is None or decision is None or pool.problem is not None or not self._exists(pool):
            return None
        return None if decision.replicas == target.replicas else (key, target, decision)

    async def _patch(self, pool: Pool) -> bool:
        """One patch, if one is due still. False when it failed."""
        async with self._patches:
            due = self._due(pool)
            if due is None:
                return True
            key, target, decision = due
            try:
                scale = await self._scales.write(key, decision.replicas)
            except ApiError as error:
                failure = error
            else:
                self._take_scale(key, scale)
                self._scaled(pool, key, target.replicas, decision)
                return True
        self._metrics.api_errors.labels("scale").inc()
        self._target_failed(key, failure)
        if pool.scale_problem is None:
            _log.warning("%s/%s could not scale %s: %s", *pool.key, key, failure)
        pool.scale_problem = Problem("ScaleFailed", f"{key} could not be scaled to {decision.replicas}: {failure}")
        self._mark_pool(pool)
        return False

    def _scaled(self, pool: Pool, target: TargetKey, before: int, decision: Decision) -> None:
        direction = "up" if decision.replicas > before else "down"
        pool.scale_problem = None
        pool.decisions[direction, decision.reason] += 1
        pool.last_scale_time = _now()
        text = f"{target}: {before} to {decision.replicas} replicas: {decision.message}"
        _log.info("%s/%s %s", *pool.key, text)
        self._events.deed(pool.ref, "ScaledUp" if direction == "up" else "ScaledDown", text)
        self.evaluate(pool)

    # -- telling -----------------------------------------------------------------------------------------------

    def _mark_pool(self, pool: Pool) -> None:
        if not self._exists(pool):
            return
        if pool.spec is not None and pool.queue_readings() is None and pool.status.reason is not None:
            # Not all is known yet: what was written before stands until it is.
            return
        if pool.problem is not None and pool.problem.reason == "Starting":
            return
        status = pool_status(pool, self._store.target_of(pool))
        if not same_numbers(pool.status, status):
            self._status.mark(_user(pool), self._gap(pool.status, status))

    def _gap(self, before: WorkerPoolStatus, after: WorkerPoolStatus) -> float:
        """How long (seconds) after the last write the difference may wait."""
        if not alike(before, after):
            return 0.0
        # Pods come and go one by one after a decision: a second takes in many of them.
        return _REPLICAS_SECONDS if before.replicas != after.replicas else self._settings.status_interval_seconds

    def _mark_broker(self, broker: Broker) -> None:
        status = self._broker_status(broker)
        if status is not None and not _same_broker(broker.status, status):
            self._status.mark(_user(broker), _REPLICAS_SECONDS)

    def _broker_status(self, broker: Broker) -> QueueBrokerStatus | None:
        endpoint = broker.endpoint
        if endpoint is None or isinstance(endpoint, Unreadable):
            return broker_status(broker, None)
        return broker_status(broker, self._health.get(endpoint))

    async def _write_status(self, user: ObjectKey) -> None:
        kind, key = user
        if not self._active:
            return
        if not self._may_act():
            self._try_again(user)
            return
        if kind == "WorkerPool":
            if (pool := self._store.pools.get(key)) is not None:
                await self._write_pool_status(pool)
        elif (broker := self._store.brokers.get(key)) is not None:
            await self._write_broker_status(broker)

    async def _write_pool_status(self, pool: Pool) -> None:
        before, after = pool.status.conditions, pool_status(pool, self._store.target_of(pool))
        if same_numbers(pool.status, after):
            return
        after = after.model_copy(update={"conditions": merge_conditions(before, after.conditions, _now())})
        if await self._patch_status(pool, after):
            pool.status = after
            self._announce(pool.ref, before, after.conditions)
            # Something may have changed while the patch was under way.
            self._mark_pool(pool)

    async def _write_broker_status(self, broker: Broker) -> None:
        after = self._broker_status(broker)
        if after is None or _same_broker(broker.status, after):
            return
        before = broker.status.conditions
        after = after.model_copy(update={"conditions": merge_conditions(before, after.conditions, _now())})
        if await self._patch_status(broker, after):
            broker.status = after
            self._announce(broker.ref, before, after.conditions)
            self._mark_broker(broker)

    async def _patch_status(self, held: Pool | Broker, status: StatusModel) -> bool:
        """Whether it was written. A failure is tried again, unless the object is gone."""
        try:
            await patch_status(self._client, held.ref.kind, *held.key, status.document())
        except ApiError as error:
            if not error.not_found:
                self._metrics.api_errors.labels("status").inc()
                _log.warning("status of %s %s/%s was not written: %s", held.ref.kind, *held.key, error)
                self._try_again(_user(held))
            return False
        self._metrics.status_writes.inc()
        return True

    def _try_again(self, user: ObjectKey) -> None:
        asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._mark_again, user)

    def _mark_again(self, user: ObjectKey) -> None:
        kind, key = user
        if key in (self._store.pools if kind == "WorkerPool" else self._store.brokers):
            self._status.mark(user, 0.0)

    def _announce(self, ref: ObjectRef, before: tuple[Condition, ...], after: tuple[Condition, ...]) -> None:
        """One event when the object's main condition turns bad, changes its reason while bad, or turns good again."""
        old, new = _main(before), _main(after)
        if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
            return
        if new.status == "False":
            self._events.state(ref, "Warning", new.reason, new.message)
        elif new.status == "True" and old is not None and old.status == "False":
            self._events.state(ref, "Normal", "Recovered", f"{old.reason} is over: {new.message}")

    def samples(self) -> Iterable[PoolSample]:
        """What metrics show of each pool; only of one who acts, so that two replicas do not contradict each other."""
        if not self._active:
            return
        for pool in self._store.pools.values():
            target = self._store.target_of(pool)
            yield PoolSample(
                namespace=pool.key[0],
                pool=pool.key[1],
                depths=tuple(
                    (name, state, jobs)
                    for name, result in pool.readings.items()
                    if isinstance(result, Depth)
                    for state, jobs in (
                        ("waiting", result.waiting),
                        ("in_flight", result.in_flight),
                        ("delayed", result.delayed),
                    )
                    if jobs is not None
                ),
                desired=pool.decision.replicas if pool.decision and pool.problem is None else None,
                current=target.replicas if target else None,
                ready=(main := _main(pool.status.conditions)) is not None and main.status == "True",
                decisions=tuple((*labels, count) for labels, count in pool.decisions.items()),
            )

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task failed", exc_info=error)


def _user(held: Pool | Broker) -> ObjectKey:
    return held.ref.kind, held.key


def _queues(pool: Pool) -> tuple[QueueSpec, ...]:
    return pool.spec.queues if pool.spec is not None else ()


def _secret_names(spec: BrokerSpec | None) -> set[str]:
    return {selector.name for selector in spec.secrets} if spec is not None else set()


def _gist(health: Health) -> tuple[object, ...]:
    """What a QueueBroker's status tells of it, the latency apart."""
    return (health.error and (health.error.reason, health.error.message), health.server, health.queues)


def _main(conditions: tuple[Condition, ...]) -> Condition | None:
    return next((condition for condition in conditions if condition.type in ("Ready", "Connected")), None)


def _same_broker(before: QueueBrokerStatus, after: QueueBrokerStatus) -> bool:
    """Whether both say the same, the latency apart, which never stands still."""
    if (before.observed_generation, before.server_version, before.queues) != (
        after.observed_generation,
        after.server_version,
        after.queues,
    ):
        return False
    return [(c.status, c.reason, c.message) for c in before.conditions] == [
        (c.status, c.reason, c.message) for c in after.conditions
    ]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
