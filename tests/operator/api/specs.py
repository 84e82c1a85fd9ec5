"""Valid specs as users write them, to be spoilt by tests one field at a time.

In: nothing. Out: fresh documents, and a way to set or take out what stands at a path.
"""

from __future__ import annotations

import copy
from typing import Any

Document = dict[str, Any]
GONE = object()

_POOL: Document = {
    "scaleTargetRef": {"name": "video-worker"},
    "maxReplicas": 10,
    "queues": [
        {"name": "render", "brokerRef": {"name": "media"}, "redisList": {"key": "video"}},
        {
            "name": "mail",
            "broker": {"rabbitmq": {"url": "amqp://rabbitmq:5672/"}},
            "rabbitmq": {"queue": "mail"},
        },
    ],
    "scaling": {"backlog": {"jobs": 50, "replicas": 2}},
}
_REDIS: Document = {"redis": {"url": "redis://redis:6379/0"}}
_RABBITMQ: Document = {"rabbitmq": {"url": "amqp://rabbitmq:5672/", "managementUrl": "http://rabbitmq:15672"}}
SECRET: Document = {"secretKeyRef": {"name": "broker", "key": "url"}}


def pool(**changes: object) -> Document:
    """A valid WorkerPool's spec with these changes: `queues__0__name="x"` sets, GONE takes out."""
    return changed(_POOL, changes)


def redis(**changes: object) -> Document:
    """A valid QueueBroker's spec for Redis with these changes."""
    return changed(_REDIS, changes)


def rabbitmq(**changes: object) -> Document:
    """A valid QueueBroker's spec for RabbitMQ with these changes."""
    return changed(_RABBITMQ, changes)


def changed(document: Document, changes: dict[str, object]) -> Document:
    """A copy of the document with changes by path."""
    result = copy.deepcopy(document)
    for path, value in changes.items():
        at: Any = result
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("__")]
        for part in parents:
            at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
        if value is GONE:
            del at[last]
        else:
            at[last] = copy.deepcopy(value)
    return result
