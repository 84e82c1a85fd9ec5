"""A namespace of the test's own, in the words of its user: pools, brokers, Deployments, what they say of themselves.

In: what to write. Out: what stands in the cluster, as soon as it is so.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

from tests.running.api import Api, Document, holds_for, wait_for

GROUP = "workerpool.dev/v1alpha1"


def redis(url: str) -> Document:
    """An inline broker."""
    return {"redis": {"url": url}}


def redis_queue(key: str, *, url: str = "", ref: str = "", secret: str = "", name: str = "") -> Document:
    """A queue in Redis: by URL, by QueueBroker, or by the key `url` of a Secret."""
    queue = {"name": name or key, "redisList": {"key": key}}
    if ref:
        return queue | {"brokerRef": {"name": ref}}
    return queue | {"broker": {"redis": {"url": url} if url else url_from(secret)}}


def rabbitmq_queue(
    queue: str, *, url: str = "", ref: str = "", management: str = "", vhost: str = "", name: str = ""
) -> Document:
    """A queue in RabbitMQ: by URL or by QueueBroker."""
    where = {"queue": queue} | ({"vhost": vhost} if vhost else {})
    spec: Document = {"name": name or queue, "rabbitmq": where}
    if ref:
        return spec | {"brokerRef": {"name": ref}}
    return spec | {"broker": {"rabbitmq": {"url": url} | ({"managementUrl": management} if management else {})}}


def url_from(secret: str, key: str = "url") -> Document:
    """A connection whose URL is in a Secret."""
    return {"urlFrom": {"secretKeyRef": {"name": secret, "key": key}}}


class Space:
    """One namespace."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.name = name

    # -- writing -----------------------------------------------------------------------------------------------

    def deployment(self, name: str, replicas: int = 0, *, kind: str = "Deployment", pods: bool = False) -> None:
        """Create a Deployment (or StatefulSet), paused unless its pods matter: replicas then cost nothing."""
        labels = {"app": name}
        spec: Document = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "worker", "image": "worker"}]},
            },
        }
        if kind == "Deployment":
            spec["paused"] = not pods
        self._apply("apps/v1", kind, name, spec)

    def pool(
        self,
        name: str,
        *queues: Document,
        target: str = "",
        jobs: int = 1,
        minimum: int = 0,
        maximum: int = 10,
        window: int = 0,
        **more: Any,
    ) -> None:
        """Create or replace a WorkerPool; its target is the Deployment of the same name unless said otherwise."""
        spec = {
            "scaleTargetRef": {"name": target or name},
            "minReplicas": minimum,
            "maxReplicas": maximum,
            "queues": list(queues),
            "scaling": {"backlog": {"jobs": jobs}},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": window}},
        }
        self._apply(GROUP, "WorkerPool", name, spec | more)

    def broker(self, name: str, spec: Document) -> None:
        """Create or replace a QueueBroker."""
        self._apply(GROUP, "QueueBroker", name, spec)

    def secret(self, name: str, **values: str) -> None:
        """Create or replace a Secret."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        metadata = {"name": name, "namespace": self.name}
        self.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})

    def scale(self, name: str, replicas: int) -> None:
        """Change a Deployment's replicas by hand."""
        self.api.patch("Deployment", self.name, name, {"spec": {"replicas": replicas}})

    def edit(self, name: str, **spec: Any) -> None:
        """Change parts of a WorkerPool's spec."""
        self.api.patch("WorkerPool", self.name, name, {"spec": spec})

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        self.api.delete(kind, self.name, name)

    def _apply(self, version: str, kind: str, name: str, spec: Document) -> None:
        metadata = {"name": name, "namespace": self.name}
        self.api.apply({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})

    # -- reading -----------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str) -> Document:
        """An object that exists."""
        found = self.api.get(kind, self.name, name)
        assert found is not None, f"{kind} {name} does not exist"
        return found

    def replicas(self, name: str, kind: str = "Deployment") -> int:
        """What its spec asks for."""
        return int(self.get(kind, name)["spec"]["replicas"])

    def status(self, name: str, kind: str = "WorkerPool") -> Document:
        """The status; empty before it was written."""
        status: Document = self.get(kind, name).get("status", {})
        return status

    def condition(self, name: str, type_: str = "", kind: str = "WorkerPool") -> Document:
        """A condition, the kind's main one unless said otherwise; empty before it was written."""
        type_ = type_ or ("Ready" if kind == "WorkerPool" else "Connected")
        found = (item for item in self.status(name, kind).get("conditions", ()) if item["type"] == type_)
        return next(found, {})

    def events(self, name: str, reason: str | None = None) -> list[str]:
        """Messages of the events about an object, those of one reason if it is given, the oldest first."""
        fields = {"involvedObject__name": name} | ({"reason": reason} if reason else {})
        about = self.api.list("Event", self.name, **fields)
        return [event["message"] for event in sorted(about, key=lambda event: event["metadata"]["creationTimestamp"])]

    def version(self, name: str, kind: str = "WorkerPool") -> str:
        """The resource version: it moves with every write."""
        return str(self.get(kind, name)["metadata"]["resourceVersion"])

    def everything(self) -> str:
        """All that the operator writes here, as one text."""
        kinds = ("WorkerPool", "QueueBroker")
        written = [item.get("status") for kind in kinds for item in self.api.list(kind, self.name)]
        return json.dumps([written, self.api.list("Event", self.name)])

    # -- waiting -----------------------------------------------------------------------------------------------

    def wait_replicas(self, name: str, count: int, *, seconds: float = 10, kind: str = "Deployment") -> None:
        """Wait until its spec asks for this many."""
        wait_for(
            lambda: self.replicas(name, kind) == count,
            f"{kind} {name} has {count} replicas",
            seconds=seconds,
            show=lambda: (self.replicas(name, kind), [self._told(pool) for pool in self._pools()]),
        )

    def wait_condition(
        self,
        name: str,
        status: str,
        reason: str | None = None,
        *,
        type_: str = "",
        kind: str = "WorkerPool",
        seconds: float = 10,
    ) -> Document:
        """Wait until a condition has this status (and reason); the condition."""

        def met() -> Document | None:
            found = self.condition(name, type_, kind)
            return found if found.get("status") == status and reason in (None, found.get("reason")) else None

        what = f"{type_ or 'main condition'} of {name} is {status} ({reason})"
        found = wait_for(met, what, seconds=seconds, show=lambda: self.condition(name, type_, kind))
        assert found is not None
        return found

    def wait_status(self, name: str, probe: Callable[[Document], object], what: str, *, seconds: float = 12) -> None:
        """Wait until a pool's status satisfies the probe."""
        wait_for(lambda: probe(self.status(name)), what, seconds=seconds, show=lambda: self.status(name))

    def wait_event(self, name: str, reason: str) -> str:
        """Wait for an event; the message of the last one."""
        events = wait_for(lambda: self.events(name, reason), f"event {reason} about {name}")
        return events[-1]

    def replicas_stay(self, name: str, count: int, *, seconds: float, kind: str = "Deployment") -> None:
        """Watch that the replicas do not move for a while."""
        holds_for(lambda: self.replicas(name, kind) == count, f"{name} stays at {count}", seconds=seconds)

    def _pools(self) -> list[Document]:
        return self.api.list("WorkerPool", self.name)

    def _told(self, pool: Document) -> tuple[str, str]:
        return pool["metadata"]["name"], pool.get("status", {}).get("message", "no status")
