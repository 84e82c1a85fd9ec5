"""`make bench-latency`: from an enqueue to `spec.replicas` as a watch of the Deployment sees it.

In: a control plane, a Redis, a RabbitMQ, the operator as a process; each try enqueues at a random phase of the
operator's second. Out: p50, p95 and p99 for Redis and RabbitMQ, 0 to 1, 0 to 10 and 1 to 10.
"""

import argparse
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pika
import redis

from tests.bench.figures import closing_line, latency_figures, table
from tests.cluster import Cluster, control_plane
from tests.running.fixtures import ROOT
from tests.running.operator_process import OperatorProcess
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer

_STEPS = {"0to1": (0, 1), "0to10": (0, 10), "1to10": (1, 10)}
_PATIENCE_SECONDS = 30.0


class ReplicasWatch:
    """Follows `spec.replicas` of one Deployment over the watch API, with the time at which each was seen."""

    def __init__(self, cluster: Cluster, deployment: str) -> None:
        self._changed = threading.Condition()
        self._replicas = -1
        self._seen_at = 0.0
        path = f"/apis/apps/v1/namespaces/default/deployments?watch=true&fieldSelector=metadata.name={deployment}"
        self._process = subprocess.Popen(
            ["kubectl", "get", "--raw", path], env=cluster.env(), stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        # The API server writes one event a line.
        for line in self._process.stdout:
            seen_at = time.monotonic()
            replicas = json.loads(line)["object"]["spec"]["replicas"]
            with self._changed:
                self._replicas, self._seen_at = replicas, seen_at
                self._changed.notify_all()

    def wait(self, replicas: int) -> float:
        """When (monotonic seconds) the Deployment was first seen to want so many replicas."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._replicas == replicas, _PATIENCE_SECONDS):
                raise TimeoutError(f"{replicas} replicas wanted, {self._replicas} seen")
            return self._seen_at

    def close(self) -> None:
        """End the watch."""
        self._process.terminate()
        self._process.wait()


def _resources(name: str, broker: dict[str, object], queue: dict[str, object], minimum: int) -> str:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": minimum,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "worker", "image": "none"}]},
            },
        },
    }
    pool = {
        "apiVersion": "workerpool.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicas": minimum,
            "maxReplicas": 10,
            "queues": [{"name": "q", "broker": broker, **queue}],
            "scaling": {"backlog": {"jobs": 1}},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [deployment, pool]})


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue to measure with.

    Attributes:
        broker: inline broker of a WorkerPool's queue.
        layout: its kind of queue.
        enqueue: puts so many jobs into it.
        empty: takes all out.
    """

    broker: dict[str, object]
    layout: dict[str, object]
    enqueue: Callable[[int], object]
    empty: Callable[[], object]


def _lane(cluster: Cluster, pool: str, queue: Queue, bounds: tuple[int, int], tries: int) -> list[float]:
    """Seconds of each try, one after the other on one pool."""
    low, high = bounds
    queue.empty()
    cluster.kubectl("apply", "-f", "-", input=_resources(pool, queue.broker, queue.layout, low))
    watch = ReplicasWatch(cluster, pool)
    samples = []
    try:
        for _ in range(tries):
            watch.wait(low)
            # The phase between our enqueue and the operator's tick is what is measured: make it random.
            time.sleep(random.uniform(0.2, 1.2))
            started = time.monotonic()
            queue.enqueue(high)
            samples.append(watch.wait(high) - started)
            queue.empty()
    finally:
        watch.close()
        cluster.kubectl("delete", "workerpool,deployment", pool)
    return samples


def _measure(cluster: Cluster, name: str, queues: list[Queue], tries: int) -> dict[str, dict[str, float]]:
    """All steps over one broker, with a lane for each queue."""
    figures = {}
    for step, bounds in _STEPS.items():
        print(f"bench: {name} {step}, {tries} tries", file=sys.stderr, flush=True)
        shares = [tries // len(queues) + (lane < tries % len(queues)) for lane in range(len(queues))]
        with ThreadPoolExecutor(len(queues)) as lanes:
            runs = [
                lanes.submit(_lane, cluster, f"{name}-{step.lower()}-{lane}", queue, bounds, share)
                for lane, (queue, share) in enumerate(zip(queues, shares, strict=True))
            ]
            figures[step] = latency_figures([sample for run in runs for sample in run.result()])
    return figures


def _redis_queue(server: RedisServer, stack: ExitStack, lane: int) -> Queue:
    client: redis.Redis = stack.enter_context(server.client())
    key = f"bench-{lane}"
    return Queue(
        broker={"redis": {"url": server.url}},
        layout={"redisList": {"key": key}},
        enqueue=lambda count: client.lpush(key, *["job"] * count),
        empty=lambda: client.delete(key),
    )


def _amqp_queue(server: RabbitMQServer, stack: ExitStack, lane: int) -> Queue:
    parameters = pika.URLParameters(server.url)
    # Nothing serves heartbeats between two tries.
    parameters.heartbeat = 0
    connection = pika.BlockingConnection(parameters)
    stack.callback(connection.close)
    channel = connection.channel()
    name = f"bench-{lane}"
    channel.queue_declare(name, durable=False)

    def enqueue(count: int) -> None:
        for _ in range(count):
            channel.basic_publish("", name, b"job")

    return Queue(
        broker={"rabbitmq": {"url": server.url}},
        layout={"rabbitmq": {"queue": name}},
        enqueue=enqueue,
        empty=lambda: channel.queue_purge(name),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.latency", description=__doc__)
    parser.add_argument("--tries", type=int, default=200, help="for each figure (default 200)")
    parser.add_argument("--lanes", type=int, default=8, help="pools that are tried side by side (default 8)")
    options = parser.parse_args()
    with ExitStack() as stack:
        redis_server = stack.enter_context(RedisServer())
        rabbitmq_server = stack.enter_context(RabbitMQServer())
        cluster = stack.enter_context(control_plane())
        cluster.kubectl("apply", "-f", str(ROOT / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))
        stack.enter_context(OperatorProcess(cluster.kubeconfig))
        queues = {
            "redis": [_redis_queue(redis_server, stack, lane) for lane in range(options.lanes)],
            "rabbitmq": [_amqp_queue(rabbitmq_server, stack, lane) for lane in range(options.lanes)],
        }
        figures = {name: _measure(cluster, name, lanes, options.tries) for name, lanes in queues.items()}
    rows = [
        (f"{broker} {step}", *values.values()) for broker, steps in figures.items() for step, values in steps.items()
    ]
    print(f"enqueue to spec.replicas seen by a watch, {options.tries} tries each, in milliseconds")
    print(table(("", "p50", "p95", "p99"), rows))
    closing_line(figures)


if __name__ == "__main__":
    main()
