"""The worker's Prometheus metrics.

In: what the runner reports. Out: the text of /metrics. The names of the first five are an agreement with
dashboards and alerts.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

_DURATION_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self, worker_id: str, *, redis: bool) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        label = ("worker_id",)
        self.processed = Counter("worker_messages_processed", "Jobs done", label, registry=self._registry).labels(
            worker_id
        )
        self.failed = Counter(
            "worker_messages_failed", "Attempts that failed, retried or not", label, registry=self._registry
        ).labels(worker_id)
        self.active = Gauge("worker_active_tasks", "Jobs in hand", label, registry=self._registry).labels(worker_id)
        # A gauge that only rises: a counter's name would have to end in _total.
        self.retries = Gauge(
            "worker_retry_attempts",
            "Failed attempts that are to be retried, since the start",
            label,
            registry=self._registry,
        ).labels(worker_id)
        self._queue_size = (
            Gauge("redis_queue_size", "Waiting jobs in the Redis list", registry=self._registry) if redis else None
        )
        self.dead_letters = Counter(
            "worker_dead_letters", "Jobs moved to the dead letters", label, registry=self._registry
        ).labels(worker_id)
        self.connected = Gauge(
            "worker_broker_connected",
            "1 when the last contact with the broker went well",
            label,
            registry=self._registry,
        ).labels(worker_id)
        self._durations = Histogram(
            "worker_job_duration_seconds",
            "How long attempts took",
            ("worker_id", "kind", "status"),
            buckets=_DURATION_BUCKETS,
            registry=self._registry,
        )
        self._worker_id = worker_id

    def observe(self, kind: str, status: str, seconds: float) -> None:
        """Count one attempt; ``kind`` must be one of a fixed set."""
        self._durations.labels(self._worker_id, kind, status).observe(seconds)

    def show_queue_size(self, size: float) -> None:
        """Show the size of a Redis list; not a number when it cannot be read."""
        if self._queue_size is not None:
            self._queue_size.set(size)

    def text(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self._registry)
