"""Prometheus metrics.

Comes in: what samplers and the engine count. Goes out: one registry in Prometheus' text format. What exists once for
each pool is made at each scrape out of the engine's state, so that 10,000 pools cost nothing in between.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class PoolSample:
    """One pool at the time of a scrape. None: not known, and so not shown.

    Attributes:
        depths: (queue, state, jobs); state is waiting, in_flight or delayed.
        decisions: (direction, reason, count) of scale operations.
    """

    namespace: str
    pool: str
    depths: tuple[tuple[str, str, int], ...]
    desired: int | None
    current: int | None
    ready: bool
    decisions: tuple[tuple[str, str, int], ...]


class _PoolCollector(Collector):
    def __init__(self, pools: Callable[[], Iterable[PoolSample]]) -> None:
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        labels = ["namespace", "workerpool"]
        depth = GaugeMetricFamily(
            "workerpool_queue_jobs", "Jobs of a queue, by state.", labels=[*labels, "queue", "state"]
        )
        desired = GaugeMetricFamily("workerpool_desired_replicas", "Replicas that the pool should have.", labels=labels)
        current = GaugeMetricFamily("workerpool_current_replicas", "Replicas that the target asks for.", labels=labels)
        ready = GaugeMetricFamily("workerpool_ready", "1 when the pool's Ready condition is True.", labels=labels)
        decisions = CounterMetricFamily(
            "workerpool_scale_decisions",
            "Scale operations carried out.",
            labels=[*labels, "direction", "reason"],
        )
        for pool in self._pools():
            names = [pool.namespace, pool.pool]
            for queue, state, jobs in pool.depths:
                depth.add_metric([*names, queue, state], jobs)
            if pool.desired is not None:
                desired.add_metric(names, pool.desired)
            if pool.current is not None:
                current.add_metric(names, pool.current)
            ready.add_metric(names, float(pool.ready))
            for direction, reason, count in pool.decisions:
                decisions.add_metric([*names, direction, reason], count)
        return iter((depth, desired, current, ready, decisions))


class BrokerMetrics:
    """Counts reads of brokers. Brokers are labelled by address, never by URL."""

    def __init__(self, registry: CollectorRegistry) -> None:
        buckets = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
        self._reads = Counter("workerpool_broker_reads", "Batches read.", ["broker"], registry=registry)
        self._errors = Counter(
            "workerpool_broker_read_errors", "Batches that failed.", ["broker", "reason"], registry=registry
        )
        self._seconds = Histogram(
            "workerpool_broker_read_seconds",
            "Time of one batch.",
            ["broker"],
            buckets=buckets,
            registry=registry,
        )
        self._lag = Histogram(
            "workerpool_engine_lag_seconds", "How late a batch began.", buckets=buckets, registry=registry
        )

    def lag(self, seconds: float) -> None:
        """A batch began so much later than it was due."""
        self._lag.observe(seconds)

    def read(self, broker: str, seconds: float, error: str | None) -> None:
        """One batch was read, or failed for a reason."""
        self._reads.labels(broker).inc()
        self._seconds.labels(broker).observe(seconds)
        if error is not None:
            self._errors.labels(broker, error).inc()

    def forget(self, broker: str) -> None:
        """A broker is read no more: its series end."""
        for metric in (self._reads, self._seconds):
            metric.remove_by_labels({"broker": broker})
        self._errors.remove_by_labels({"broker": broker})


class Metrics:
    """The registry and all that is counted in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.brokers = BrokerMetrics(self.registry)
        self.leading = Gauge("workerpool_leading", "1 when this replica acts.", registry=self.registry)
        self.status_writes = Counter("workerpool_status_writes", "Status patches written.", registry=self.registry)
        self.api_errors = Counter(
            "workerpool_api_errors", "Writes that the API server refused.", ["write"], registry=self.registry
        )

    def collect_pools(self, pools: Callable[[], Iterable[PoolSample]]) -> None:
        """Show these pools at each scrape."""
        self.registry.register(_PoolCollector(pools))

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
