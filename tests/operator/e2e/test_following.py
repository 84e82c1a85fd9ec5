"""A pool follows its queues, and does what a user expects when anything around it changes. Nothing is restarted."""

from collections.abc import Iterator

import pytest

from tests.running.api import Document, holds_for, wait_for
from tests.running.operator_process import OperatorProcess
from tests.running.publisher import Publisher
from tests.running.space import Space, rabbitmq_queue, redis, redis_queue
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.servers, pytest.mark.usefixtures("operator_process")]


@pytest.fixture
def queue(redis_server: RedisServer) -> Document:
    """A Redis queue at the key `jobs`."""
    return redis_queue("jobs", url=redis_server.url)


def _push(server: RedisServer, count: int, key: str = "jobs") -> None:
    """Make the list exactly this long."""
    with server.client() as client:
        client.delete(key)
        if count:
            client.rpush(key, *range(count))


def test_a_pool_follows_its_queue_up_and_down(space: Space, redis_server: RedisServer, queue: Document) -> None:
    space.deployment("worker")
    space.pool("worker", queue, jobs=10, minimum=1, maximum=4)
    space.wait_replicas("worker", 1)
    _push(redis_server, 25)
    space.wait_replicas("worker", 3, seconds=3)
    _push(redis_server, 1000)
    space.wait_replicas("worker", 4, seconds=3)
    _push(redis_server, 0)
    space.wait_replicas("worker", 1, seconds=3)
    messages = wait_for(lambda: (found := space.events("worker", "ScaledUp"))[2:] and found, "three events")
    counts = "waiting + 0 in flight (unknown for jobs)"
    assert sorted(messages) == [
        f"Deployment worker: 0 to 1 replicas: 0 {counts}: ceil(0/10) = 0, raised to minReplicas 1",
        f"Deployment worker: 1 to 3 replicas: 25 {counts}: ceil(25/10) = 3",
        f"Deployment worker: 3 to 4 replicas: 1000 {counts}: ceil(1000/10) = 100, capped at maxReplicas 4",
    ]
    assert "4 to 1 replicas" in space.wait_event("worker", "ScaledDown")


def test_queues_add_up_over_redis_and_rabbitmq(
    space: Space, redis_server: RedisServer, rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str, publisher: Publisher
) -> None:
    publisher.publish("mails", 20)
    taken = publisher.take("mails", 5)
    _push(redis_server, 7, "urgent")
    _push(redis_server, 13, "normal")
    space.broker("redis", redis(redis_server.url))
    url = rabbitmq_server.url_of(rabbitmq_vhost)
    space.deployment("worker")
    space.pool(
        "worker",
        redis_queue("urgent", ref="redis"),
        redis_queue("normal", url=redis_server.url),
        rabbitmq_queue("mails", url=url, management=rabbitmq_server.management_url),
        maximum=100,
    )
    space.wait_replicas("worker", 40)
    space.wait_status("worker", lambda status: (status.get("waiting"), status.get("inFlight")) == (35, 5), "35 and 5")
    assert [(queue["name"], queue["waiting"], queue.get("inFlight")) for queue in space.status("worker")["queues"]] == [
        ("urgent", 7, None),
        ("normal", 13, None),
        ("mails", 15, 5),
    ]
    publisher.finish(taken)
    space.wait_replicas("worker", 35, seconds=5)


def test_replicas_changed_by_hand_are_set_right_and_told_each_time(
    space: Space, redis_server: RedisServer, queue: Document
) -> None:
    _push(redis_server, 5)
    space.deployment("worker")
    space.pool("worker", queue)
    space.wait_replicas("worker", 5)
    for times in (2, 3):
        space.scale("worker", 0)
        space.wait_replicas("worker", 5, seconds=2)
        wait_for(lambda: len(space.events("worker", "ScaledUp")) == times, "an event for each time")  # noqa: B023
    space.scale("worker", 9)
    space.wait_replicas("worker", 5, seconds=2)


def test_a_deployment_that_is_deleted_and_made_again_is_scaled_again(
    space: Space, redis_server: RedisServer, queue: Document
) -> None:
    _push(redis_server, 5)
    space.deployment("worker")
    space.pool("worker", queue)
    space.wait_replicas("worker", 5)
    space.delete("Deployment", "worker")
    told = space.wait_condition("worker", "False", "TargetMissing")
    assert told["message"] == f"Deployment worker does not exist in namespace {space.name}; create it"
    space.deployment("worker", 1)
    space.wait_replicas("worker", 5, seconds=3)
    space.wait_condition("worker", "True")


def test_a_pool_edited_live_follows_its_new_spec(space: Space, redis_server: RedisServer, queue: Document) -> None:
    _push(redis_server, 5)
    _push(redis_server, 8, "other")
    space.deployment("worker")
    space.pool("worker", queue)
    space.wait_replicas("worker", 5)
    space.edit("worker", maxReplicas=3)
    space.wait_replicas("worker", 3, seconds=2)
    space.edit("worker", maxReplicas=20, minReplicas=6)
    space.wait_replicas("worker", 6, seconds=2)
    space.edit("worker", queues=[redis_queue("other", url=redis_server.url)])
    space.wait_replicas("worker", 8, seconds=3)
    space.edit("worker", scaling={"backlog": {"jobs": 4, "replicas": 5}})
    space.wait_replicas("worker", 10, seconds=2)
    space.edit("worker", suspend=True)
    space.wait_condition("worker", "True", type_="Suspended")
    space.scale("worker", 2)
    space.replicas_stay("worker", 2, seconds=1.5)
    space.edit("worker", suspend=False)
    space.wait_replicas("worker", 10, seconds=2)
    generation = space.get("WorkerPool", "worker")["metadata"]["generation"]
    space.wait_status("worker", lambda status: status["observedGeneration"] == generation, "the new generation")


def test_a_pool_moved_to_another_deployment_leaves_the_former_as_it_is(
    space: Space, redis_server: RedisServer, queue: Document
) -> None:
    _push(redis_server, 5)
    space.deployment("one")
    space.deployment("two")
    space.pool("pool", queue, target="one")
    space.wait_replicas("one", 5)
    space.edit("pool", scaleTargetRef={"name": "two"})
    space.wait_replicas("two", 5, seconds=2)
    _push(redis_server, 7)
    space.wait_replicas("two", 7, seconds=3)
    assert space.replicas("one") == 5
    space.scale("one", 1)
    space.replicas_stay("one", 1, seconds=1.5)


def test_a_pool_edited_to_another_broker_reads_that_one(
    space: Space, redis_server: RedisServer, second_redis: RedisServer
) -> None:
    _push(redis_server, 2)
    _push(second_redis, 6)
    space.broker("broker", redis(redis_server.url))
    space.deployment("inline")
    space.deployment("by-ref")
    space.pool("inline", redis_queue("jobs", url=redis_server.url))
    space.pool("by-ref", redis_queue("jobs", ref="broker"))
    for name in ("inline", "by-ref"):
        space.wait_replicas(name, 2)
    space.edit("inline", queues=[redis_queue("jobs", url=second_redis.url)])
    space.broker("broker", redis(second_redis.url))
    for name in ("inline", "by-ref"):
        space.wait_replicas(name, 6, seconds=3)
    address = f"127.0.0.1:{second_redis.port}/0"
    wait_for(lambda: address in space.condition("broker", kind="QueueBroker")["message"], "the new address is told")


def test_a_deleted_pool_leaves_the_replicas_as_they_are(
    space: Space, redis_server: RedisServer, queue: Document
) -> None:
    _push(redis_server, 5)
    space.deployment("worker")
    space.pool("worker", queue)
    space.wait_replicas("worker", 5)
    space.delete("WorkerPool", "worker")
    _push(redis_server, 9)
    space.replicas_stay("worker", 5, seconds=2.5)
    assert space.get("Deployment", "worker")["metadata"].get("finalizers") is None


def test_a_pool_made_again_under_its_name_is_served_as_a_new_one(
    space: Space, redis_server: RedisServer, queue: Document
) -> None:
    _push(redis_server, 5)
    space.deployment("worker")
    for maximum in (2, 3, 4, 5):
        space.pool("worker", queue, maximum=maximum)
        space.wait_replicas("worker", maximum, seconds=3)
        space.delete("WorkerPool", "worker")
    space.pool("worker", queue, maximum=6)
    space.wait_condition("worker", "True")


def test_the_younger_of_two_pools_on_one_deployment_does_nothing_until_the_older_is_gone(
    space: Space, redis_server: RedisServer, queue: Document, operator_process: OperatorProcess
) -> None:
    _push(redis_server, 5)
    space.deployment("worker")
    space.pool("older", queue, target="worker")
    space.wait_replicas("worker", 5)
    _wait_for_the_next_second(space, "older")
    space.pool("younger", queue, target="worker", minimum=8)
    told = space.wait_condition("younger", "False", "TargetConflict")
    assert told["message"].startswith("Deployment worker is scaled by the older WorkerPool older")
    space.replicas_stay("worker", 5, seconds=1.5)
    assert space.condition("older")["status"] == "True"
    assert len(space.events("younger", "TargetConflict")) == 1
    space.delete("WorkerPool", "older")
    space.wait_replicas("worker", 8, seconds=2)
    space.wait_condition("younger", "True")
    assert "TargetConflict is over" in space.wait_event("younger", "Recovered")
    assert "Traceback" not in operator_process.log


def _wait_for_the_next_second(space: Space, name: str) -> None:
    """Creation times are whole seconds."""
    created = space.get("WorkerPool", name)["metadata"]["creationTimestamp"]

    def later() -> bool:
        space.secret("clock", tick="")
        space.delete("Secret", "clock")
        space.secret("clock", tick="")
        return bool(space.get("Secret", "clock")["metadata"]["creationTimestamp"] > created)

    wait_for(later, "the next second")


def test_two_pools_on_one_queue_both_follow_it(space: Space, redis_server: RedisServer, queue: Document) -> None:
    for name, maximum in (("small", 2), ("large", 8)):
        space.deployment(name)
        space.pool(name, queue, maximum=maximum)
    _push(redis_server, 6)
    space.wait_replicas("small", 2)
    space.wait_replicas("large", 6)
    space.delete("WorkerPool", "small")
    _push(redis_server, 7)
    space.wait_replicas("large", 7, seconds=3)


def test_a_statefulset_is_a_target(space: Space, redis_server: RedisServer, queue: Document) -> None:
    _push(redis_server, 5)
    space.deployment("db", kind="StatefulSet")
    space.pool("pool", queue, scaleTargetRef={"kind": "StatefulSet", "name": "db"})
    space.wait_replicas("db", 5, kind="StatefulSet")
    assert "StatefulSet db: 0 to 5 replicas" in space.wait_event("pool", "ScaledUp")


@pytest.fixture
def fleet(space: Space) -> Iterator[str]:
    """A kind of the test's own with a scale subresource."""
    group = f"{space.name}.example.org"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": schema, "status": schema}}},
        "subresources": {"scale": scale},
    }
    crd = f"fleets.{group}"
    space.api.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": crd},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": "Fleet", "plural": "fleets"},
                "versions": [version],
            },
        }
    )
    wait_for(lambda: _established(space, crd), "the CRD is established")
    space.api.learn("Fleet", f"{group}/v1", "fleets")
    yield f"{group}/v1"
    space.api.delete("CustomResourceDefinition", None, crd)


def _established(space: Space, crd: str) -> bool:
    status = (space.api.get("CustomResourceDefinition", None, crd) or {}).get("status", {})
    conditions = status.get("conditions") or ()
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


def test_any_kind_with_a_scale_is_a_target(
    space: Space, redis_server: RedisServer, queue: Document, fleet: str
) -> None:
    _push(redis_server, 5)
    space.pool("pool", queue, scaleTargetRef={"apiVersion": fleet, "kind": "Fleet", "name": "boats"})
    space.wait_condition("pool", "False", "TargetMissing")
    metadata = {"name": "boats", "namespace": space.name}
    space.api.apply({"apiVersion": fleet, "kind": "Fleet", "metadata": metadata, "spec": {"size": 0}})
    wait_for(lambda: space.get("Fleet", "boats")["spec"]["size"] == 5, "the fleet has 5", seconds=5)
    space.api.patch("Fleet", space.name, "boats", {"spec": {"size": 1}})
    wait_for(lambda: space.get("Fleet", "boats")["spec"]["size"] == 5, "the fleet has 5 again", seconds=5)
    _push(redis_server, 6)
    wait_for(lambda: space.get("Fleet", "boats")["spec"]["size"] == 6, "the fleet has 6", seconds=3)


def test_replicas_stay_within_the_stabilization_window(
    space: Space, redis_server: RedisServer, queue: Document
) -> None:
    _push(redis_server, 5)
    space.deployment("worker")
    space.pool("worker", queue, window=3)
    space.wait_replicas("worker", 5)
    _push(redis_server, 1)
    space.wait_status("worker", lambda status: status["reason"] == "Stabilizing", "Stabilizing", seconds=2)
    holds_for(lambda: space.replicas("worker") == 5, "held", seconds=1)
    space.wait_replicas("worker", 1, seconds=4)
