"""What `kubectl apply` rejects, and that the message tells the mend."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import Cluster, ClusterError

pytestmark = pytest.mark.apiserver

Document = dict[str, Any]

_REDIS = {"redis": {"url": "redis://redis:6379/0"}}
_SECRET = {"secretKeyRef": {"name": "a", "key": "b"}}
_POOL: Document = {
    "apiVersion": "workerpool.dev/v1alpha1",
    "kind": "WorkerPool",
    "metadata": {"name": "pool"},
    "spec": {
        "scaleTargetRef": {"name": "worker"},
        "maxReplicas": 10,
        "queues": [{"name": "a", "broker": _REDIS, "redisList": {"key": "a"}}],
        "scaling": {"backlog": {"jobs": 1}},
    },
}


def _pool(**spec: Any) -> Document:
    pool = copy.deepcopy(_POOL)
    pool["spec"] |= spec
    return pool


def _queue(**parts: Any) -> Document:
    """The pool with its queue changed; a part that is None is taken out."""
    queue = _POOL["spec"]["queues"][0] | parts
    return _pool(queues=[{name: part for name, part in queue.items() if part is not None}])


def _broker(**spec: Any) -> Document:
    metadata = {"name": "broker"}
    return {"apiVersion": "workerpool.dev/v1alpha1", "kind": "QueueBroker", "metadata": metadata, "spec": spec}


def _without(part: str) -> Document:
    pool = _pool()
    del pool["spec"][part]
    return pool


@pytest.fixture(scope="module")
def refusal(cluster_with_crds: Cluster) -> Callable[[Document], str]:
    """What kubectl prints when it applies a document that must be rejected."""

    def apply(document: Document) -> str:
        with pytest.raises(ClusterError) as failure:
            cluster_with_crds.kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(document))
        return str(failure.value)

    return apply


@pytest.mark.parametrize(
    ("document", "told"),
    [
        pytest.param(_pool(minReplicas=11), "lower minReplicas or raise maxReplicas", id="min-above-max"),
        pytest.param(_pool(maxReplicas=0), "spec.maxReplicas in body should be greater than or equal to 1", id="max-0"),
        pytest.param(_pool(minReplicas=-1), "spec.minReplicas in body should be greater than or equal to 0", id="min"),
        pytest.param(_pool(maxReplicas="many"), "spec.maxReplicas", id="max-of-wrong-type"),
        pytest.param(_pool(maxReplicas=1.5), "spec.maxReplicas", id="max-not-whole"),
        pytest.param(_without("maxReplicas"), "spec.maxReplicas: Required value", id="no-max"),
        pytest.param(
            _pool(scaling={"backlog": {"jobs": 0}}), "jobs in body should be greater than or equal to 1", id="jobs-0"
        ),
        pytest.param(
            _pool(scaling={"backlog": {"jobs": 1, "replicas": -2}}),
            "replicas in body should be greater than or equal to 1",
            id="replicas-negative",
        ),
        pytest.param(_pool(scaling={}), "spec.scaling.backlog: Required value", id="no-rule"),
        pytest.param(
            _pool(behavior={"scaleDown": {"stabilizationWindowSeconds": -1}}), "stabilizationWindow", id="window"
        ),
        pytest.param(_pool(queues=[]), "spec.queues in body should have at least 1 items", id="no-queue"),
        pytest.param(_without("queues"), "spec.queues: Required value", id="queues-missing"),
        pytest.param(_pool(queues=_POOL["spec"]["queues"] * 2), "Duplicate value", id="two-queues-of-one-name"),
        pytest.param(_without("scaleTargetRef"), "spec.scaleTargetRef: Required value", id="no-target"),
        pytest.param(_pool(scaleTargetRef={"name": ""}), "spec.scaleTargetRef.name", id="target-without-name"),
        pytest.param(
            _pool(scaleTargetRef={"name": "../../other/deployments/worker"}), "scaleTargetRef.name", id="target-path"
        ),
        pytest.param(
            _pool(scaleTargetRef={"apiVersion": "apps/v1?x=", "name": "worker"}),
            "scaleTargetRef.apiVersion",
            id="target-version-path",
        ),
        pytest.param(
            _queue(rabbitmq={"queue": "q"}), "set exactly one kind of queue: redisList or rabbitmq", id="two-kinds"
        ),
        pytest.param(_queue(redisList=None), "set exactly one kind of queue", id="no-kind"),
        pytest.param(_queue(broker=None), "set exactly one of broker (inline) and brokerRef", id="no-broker"),
        pytest.param(
            _queue(brokerRef={"name": "b"}), "set exactly one of broker (inline) and brokerRef", id="two-brokers"
        ),
        pytest.param(
            _queue(broker={"rabbitmq": {"url": "amqp://r/"}}), "redisList needs broker.redis", id="broker-of-other-kind"
        ),
        pytest.param(_queue(redisList={"key": ""}), "redisList.key in body should be at least 1 chars", id="empty-key"),
        pytest.param(
            _queue(redisList=None, broker={"rabbitmq": {"url": "amqp://r/"}}, rabbitmq={"queue": ""}),
            "rabbitmq.queue in body should be at least 1 chars",
            id="empty-queue",
        ),
        pytest.param(
            _queue(broker={"redis": {"url": "http://redis"}}),
            "redis.url must start with redis:// or rediss://, for example redis://redis:6379/0",
            id="redis-scheme",
        ),
        pytest.param(_pool(minReplica=1), 'unknown field "spec.minReplica"', id="unknown-field"),
        pytest.param(_queue(redisList={"key": "a", "list": "b"}), 'unknown field "spec.queues[0]', id="unknown-nested"),
        pytest.param(
            _broker(rabbitmq={"url": "redis://r"}),
            "rabbitmq.url must start with amqp:// or amqps://, for example amqp://rabbitmq:5672/",
            id="amqp-scheme",
        ),
        pytest.param(
            _broker(rabbitmq={"url": "amqp://r", "managementUrl": "r:15672"}),
            "rabbitmq.managementUrl must start with http:// or https://",
            id="management-scheme",
        ),
        pytest.param(_broker(), "set exactly one of redis and rabbitmq", id="broker-of-no-kind"),
        pytest.param(
            _broker(redis={"url": "redis://r"}, rabbitmq={"url": "amqp://r"}),
            "set exactly one of redis and rabbitmq",
            id="broker-of-two-kinds",
        ),
        pytest.param(
            _broker(redis={"url": "redis://r", "urlFrom": _SECRET}),
            "set exactly one of redis.url and redis.urlFrom",
            id="two-urls",
        ),
        pytest.param(_broker(redis={}), "set exactly one of redis.url and redis.urlFrom", id="no-url"),
    ],
)
def test_a_document_that_cannot_work_is_rejected_with_its_mend(
    refusal: Callable[[Document], str], document: Document, told: str
) -> None:
    assert told in refusal(document)


def test_an_edit_that_cannot_work_is_rejected_too(cluster_with_crds: Cluster, namespace: str) -> None:
    cluster_with_crds.kubectl("apply", "--namespace", namespace, "-f", "-", input=json.dumps(_POOL))
    change = json.dumps({"spec": {"minReplicas": 11}})
    with pytest.raises(ClusterError, match="lower minReplicas or raise maxReplicas"):
        cluster_with_crds.kubectl("patch", "wp", "pool", "--namespace", namespace, "--type=merge", "-p", change)


def test_the_shortest_pool_is_accepted_with_its_defaults(cluster_with_crds: Cluster) -> None:
    printed = cluster_with_crds.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(_POOL))
    spec = json.loads(printed)["spec"]
    assert spec["minReplicas"] == 0
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}
    assert spec["scaling"]["backlog"] == {"jobs": 1, "replicas": 1}
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
