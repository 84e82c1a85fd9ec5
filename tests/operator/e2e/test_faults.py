"""What is wrong with one pool is told once and holds its replicas; when the cause goes, it goes on within 5 s.

Each test watches a healthy pool beside the troubled one, and looks for the password wherever the operator writes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.running.api import Document, wait_for
from tests.running.gate import Gate
from tests.running.operator_process import OperatorProcess
from tests.running.publisher import Publisher
from tests.running.space import Space, rabbitmq_queue, redis, redis_queue, url_from
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.servers]

PASSWORD = "kestrel-4711"
RECOVERY_SECONDS = 5.0
# One sample each second.
HOLD_SECONDS = 1.2


@dataclass
class Trouble:
    """The troubled pool `worker` with a Deployment of 3 replicas, and the healthy pool `healthy` beside it."""

    space: Space
    operator: OperatorProcess
    healthy_redis: RedisServer

    def pool(self, *queues: Document, **more: Any) -> None:
        """Create the pool, which would go to zero if a depth that is not known were a zero."""
        self.space.deployment("worker", 3)
        self.space.pool("worker", *queues, **more)

    @contextmanager
    def lasts(self, reason: str, told: str, *, seconds: float = 10) -> Iterator[None]:
        """The pool tells of it, once, and holds; the rest is as ever. Within the block the cause must go."""
        space = self.space
        message = space.wait_condition("worker", "False", reason, seconds=seconds)["message"]
        seen_at = time.monotonic()
        assert told in message
        assert space.wait_event("worker", reason) == message
        self.healthy_goes_on()
        space.replicas_stay("worker", 3, seconds=seen_at + HOLD_SECONDS - time.monotonic())
        assert len(space.events("worker", reason)) == 1
        yield
        space.wait_condition("worker", "True", seconds=RECOVERY_SECONDS)
        assert " is over: " in space.wait_event("worker", "Recovered")

    def healthy_goes_on(self) -> None:
        """The healthy pool follows a change of its queue as fast as ever."""
        with self.healthy_redis.client() as client:
            jobs = int(client.rpush("healthy", "job"))
        self.space.wait_replicas("healthy", jobs, seconds=2)


@pytest.fixture
def trouble(space: Space, operator_process: OperatorProcess, second_redis: RedisServer) -> Iterator[Trouble]:
    space.deployment("healthy")
    space.pool("healthy", redis_queue("healthy", url=second_redis.url))
    log_before = len(operator_process.log)
    yield Trouble(space, operator_process, second_redis)
    assert PASSWORD not in space.everything()
    assert PASSWORD not in operator_process.get("/metrics")
    log = operator_process.log[log_before:]
    assert PASSWORD not in log
    assert "Traceback" not in log
    assert len(space.events("healthy")) == len(space.events("healthy", "ScaledUp"))


def _fill(server: RedisServer, count: int = 5, key: str = "jobs") -> None:
    with server.client() as client:
        client.rpush(key, *range(count))


def test_a_missing_target(trouble: Trouble, redis_server: RedisServer) -> None:
    space = trouble.space
    _fill(redis_server)
    space.pool("worker", redis_queue("jobs", url=redis_server.url))
    message = space.wait_condition("worker", "False", "TargetMissing")["message"]
    assert message == f"Deployment worker does not exist in namespace {space.name}; create it"
    trouble.healthy_goes_on()
    assert space.wait_event("worker", "TargetMissing") == message
    space.deployment("worker", 3)
    space.wait_replicas("worker", 5, seconds=RECOVERY_SECONDS)
    assert len(space.events("worker", "TargetMissing")) == 1


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ({"apiVersion": "v1", "kind": "ConfigMap", "name": "worker"}, "kind ConfigMap of v1 does not exist or has no"),
        ({"apiVersion": "nowhere.org/v1", "kind": "Fleet", "name": "worker"}, "no apiVersion nowhere.org/v1"),
    ],
)
def test_a_target_that_cannot_be_scaled(
    trouble: Trouble, redis_server: RedisServer, target: Document, told: str
) -> None:
    _fill(redis_server)
    trouble.pool(redis_queue("jobs", url=redis_server.url), scaleTargetRef=target)
    with trouble.lasts("TargetNotScalable", told):
        trouble.space.edit("worker", scaleTargetRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"})
    trouble.space.wait_replicas("worker", 5)


def test_a_missing_queuebroker(trouble: Trouble, redis_server: RedisServer) -> None:
    _fill(redis_server)
    trouble.pool(redis_queue("jobs", ref="media"))
    with trouble.lasts("QueueBrokerMissing", f"QueueBroker media does not exist in namespace {trouble.space.name}"):
        trouble.space.broker("media", redis(redis_server.url))
    trouble.space.wait_replicas("worker", 5)


def test_a_queuebroker_of_the_other_kind(
    trouble: Trouble, redis_server: RedisServer, rabbitmq_server: RabbitMQServer
) -> None:
    _fill(redis_server)
    trouble.space.broker("media", {"rabbitmq": {"url": rabbitmq_server.url}})
    trouble.pool(redis_queue("jobs", ref="media"))
    with trouble.lasts("BrokerOfWrongKind", "QueueBroker media is rabbitmq, the queue needs redis"):
        trouble.space.broker("media", redis(redis_server.url))
    trouble.space.wait_replicas("worker", 5)


def test_a_missing_secret(trouble: Trouble, redis_server: RedisServer) -> None:
    _fill(redis_server)
    redis_server.set_password(PASSWORD)
    trouble.pool(redis_queue("jobs", secret="login"))
    with trouble.lasts("SecretMissing", f"Secret login does not exist in namespace {trouble.space.name}; create it"):
        trouble.space.secret("login", url=redis_server.url)
    trouble.space.wait_replicas("worker", 5)


def test_a_secret_deleted_while_in_use(trouble: Trouble, redis_server: RedisServer) -> None:
    _fill(redis_server, 3)
    trouble.space.secret("login", url=redis_server.url)
    trouble.pool(redis_queue("jobs", secret="login"))
    trouble.space.wait_condition("worker", "True")
    trouble.space.delete("Secret", "login")
    with trouble.lasts("SecretMissing", "Secret login does not exist"):
        trouble.space.secret("login", url=redis_server.url)


def test_a_missing_key_of_a_secret(trouble: Trouble, redis_server: RedisServer) -> None:
    _fill(redis_server)
    redis_server.set_password(PASSWORD)
    trouble.space.secret("login", uri=redis_server.url)
    trouble.pool(redis_queue("jobs", secret="login"))
    with trouble.lasts("SecretKeyMissing", "Secret login has no key url; add it, or correct secretKeyRef.key"):
        trouble.space.secret("login", url=redis_server.url)
    trouble.space.wait_replicas("worker", 5)


@pytest.mark.parametrize("url", [f"http://:{PASSWORD}@127.0.0.1", f"redis://user:12/{PASSWORD}@127.0.0.1:1/0"])
def test_a_secret_that_holds_no_url_of_the_broker(trouble: Trouble, redis_server: RedisServer, url: str) -> None:
    _fill(redis_server)
    trouble.space.secret("login", url=url)
    trouble.pool(redis_queue("jobs", secret="login"))
    with trouble.lasts("InvalidURL", "redis.url must start with redis:// or rediss://"):
        trouble.space.secret("login", url=redis_server.url)
    trouble.space.wait_replicas("worker", 5)


def test_a_secret_that_ends_with_a_newline_is_read_without_it(trouble: Trouble, redis_server: RedisServer) -> None:
    _fill(redis_server)
    redis_server.set_password(PASSWORD)
    trouble.space.secret("login", url=redis_server.url + "\n")
    trouble.pool(redis_queue("jobs", secret="login"))
    trouble.space.wait_replicas("worker", 5)


def test_a_wrong_password_of_redis(trouble: Trouble, redis_server: RedisServer) -> None:
    _fill(redis_server)
    redis_server.set_password("another")
    # A connection that an earlier test's pool has not closed yet would stay logged in.
    redis_server.disconnect_clients()
    trouble.space.secret("login", url=redis_server.url_of(password=PASSWORD))
    trouble.space.broker("media", {"redis": url_from("login")})
    trouble.pool(redis_queue("jobs", ref="media"))
    with trouble.lasts("AuthenticationFailed", "refused the user or password; correct the URL or its Secret"):
        trouble.space.wait_condition("media", "False", "AuthenticationFailed", kind="QueueBroker")
        redis_server.set_password(PASSWORD)
    trouble.space.wait_condition("media", "True", kind="QueueBroker")
    trouble.space.wait_replicas("worker", 5)


def test_a_wrong_password_of_rabbitmq(
    trouble: Trouble, rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str, publisher: Publisher
) -> None:
    publisher.publish("jobs", 5)
    rabbitmq_server.add_user("worker", "another", rabbitmq_vhost)
    url = rabbitmq_server.url_of(rabbitmq_vhost, "worker", PASSWORD)
    trouble.pool(rabbitmq_queue("jobs", url=url))
    with trouble.lasts("AuthenticationFailed", "refused the user or password"):
        rabbitmq_server.add_user("worker", PASSWORD, rabbitmq_vhost)
    trouble.space.wait_replicas("worker", 5)
    rabbitmq_server.remove_user("worker")


def test_a_password_that_is_rotated_at_the_broker_and_in_the_secret(
    trouble: Trouble, redis_server: RedisServer
) -> None:
    space = trouble.space
    _fill(redis_server, 3)
    redis_server.set_password("before")
    space.secret("login", url=redis_server.url)
    space.broker("media", {"redis": url_from("login")})
    trouble.pool(redis_queue("jobs", ref="media"), redis_queue("own", secret="login"))
    space.wait_condition("worker", "True")
    redis_server.set_password(PASSWORD)
    redis_server.disconnect_clients()
    with trouble.lasts("AuthenticationFailed", "refused the user or password"):
        space.secret("login", url=redis_server.url)
    _fill(redis_server, 1)
    space.wait_replicas("worker", 4, seconds=2)


def test_a_secret_rotated_before_the_broker_asks_for_it(trouble: Trouble, redis_server: RedisServer) -> None:
    space = trouble.space
    _fill(redis_server, 3)
    redis_server.add_user("old", "before")
    redis_server.add_user("new", PASSWORD)
    space.secret("login", url=redis_server.url_of("old", "before"))
    trouble.pool(redis_queue("jobs", secret="login"))
    space.wait_condition("worker", "True")
    space.secret("login", url=redis_server.url_of("new", PASSWORD))
    with redis_server.client() as admin:
        wait_for(lambda: "user=new" in str(admin.execute_command("CLIENT", "LIST")), "the new user", seconds=5)
        admin.acl_deluser("old")
    _fill(redis_server, 1)
    space.wait_replicas("worker", 4, seconds=3)
    assert space.events("worker", "AuthenticationFailed") == []


def test_a_redis_that_is_down(trouble: Trouble, redis_server: RedisServer) -> None:
    _fill(redis_server, 3)
    trouble.space.broker("media", redis(redis_server.url))
    trouble.pool(redis_queue("jobs", ref="media"))
    trouble.space.wait_condition("worker", "True")
    trouble.space.wait_condition("media", "True", "Connected", kind="QueueBroker")
    redis_server.stop()
    with trouble.lasts("Unreachable", f"Redis at 127.0.0.1:{redis_server.port}/0 cannot be reached"):
        trouble.space.wait_condition("media", "False", "Unreachable", kind="QueueBroker")
        redis_server.start()
    trouble.space.wait_condition("media", "True", "Connected", kind="QueueBroker")
    assert len(trouble.space.events("media", "Unreachable")) == 1
    assert "Unreachable is over" in trouble.space.wait_event("media", "Recovered")


def test_a_rabbitmq_that_breaks_off_and_refuses(
    trouble: Trouble, rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str, publisher: Publisher
) -> None:
    publisher.publish("jobs", 3)
    with Gate("127.0.0.1", rabbitmq_server.port) as gate:
        url = rabbitmq_server.url_of(rabbitmq_vhost).replace(str(rabbitmq_server.port), str(gate.port))
        trouble.pool(rabbitmq_queue("jobs", url=url))
        trouble.space.wait_condition("worker", "True")
        gate.cut()
        told = trouble.space.wait_condition("worker", "False")["reason"]
        assert told in ("Unreachable", "BrokerFailure")
        gate.open()
        trouble.space.wait_condition("worker", "True", seconds=RECOVERY_SECONDS)
        assert trouble.space.replicas("worker") == 3


def test_a_redis_that_accepts_and_never_answers(trouble: Trouble, redis_server: RedisServer) -> None:
    _fill(redis_server)
    with Gate("127.0.0.1", redis_server.port, "mute") as gate:
        trouble.pool(redis_queue("jobs", url=f"redis://127.0.0.1:{gate.port}/0"))
        with trouble.lasts("Timeout", f"Redis at 127.0.0.1:{gate.port}/0 did not answer within 2 s"):
            gate.open()
        trouble.space.wait_replicas("worker", 5)


def test_a_rabbitmq_that_accepts_and_never_answers(
    trouble: Trouble, rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str, publisher: Publisher
) -> None:
    publisher.publish("jobs", 5)
    with Gate("127.0.0.1", rabbitmq_server.port, "mute") as gate:
        url = rabbitmq_server.url_of(rabbitmq_vhost).replace(str(rabbitmq_server.port), str(gate.port))
        trouble.pool(rabbitmq_queue("jobs", url=url))
        with trouble.lasts("Timeout", "did not answer within 2 s"):
            gate.open()
        trouble.space.wait_replicas("worker", 5)


def test_a_broker_frozen_in_the_middle_of_its_work(trouble: Trouble, redis_server: RedisServer) -> None:
    _fill(redis_server, 3)
    trouble.pool(redis_queue("jobs", url=redis_server.url))
    trouble.space.wait_condition("worker", "True")
    redis_server.freeze()
    with trouble.lasts("Timeout", "did not answer within 2 s"):
        redis_server.thaw()


def test_a_key_of_the_wrong_type(trouble: Trouble, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set("jobs", "no list")
        trouble.pool(redis_queue("jobs", url=redis_server.url))
        with trouble.lasts("WrongType", "list jobs holds another type of value; name a key of the right type"):
            client.delete("jobs")
            client.rpush("jobs", *range(5))
    trouble.space.wait_replicas("worker", 5)


def test_a_missing_queue_of_rabbitmq(
    trouble: Trouble, rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str, publisher: Publisher
) -> None:
    publisher.publish("other", 1)
    url = rabbitmq_server.url_of(rabbitmq_vhost)
    trouble.pool(rabbitmq_queue("other", url=url), rabbitmq_queue("jobs", url=url))
    with trouble.lasts("QueueMissing", f"queue jobs in vhost {rabbitmq_vhost} does not exist; declare it"):
        publisher.publish("jobs", 5)
    trouble.space.wait_replicas("worker", 6)


def test_a_missing_vhost_of_rabbitmq(trouble: Trouble, rabbitmq_server: RabbitMQServer, namespace: str) -> None:
    trouble.space.broker("rabbit", {"rabbitmq": {"url": rabbitmq_server.url}})
    trouble.pool(rabbitmq_queue("jobs", ref="rabbit", vhost=namespace))
    with trouble.lasts("VhostMissing", f"has no vhost {namespace}"):
        rabbitmq_server.add_vhost(namespace)
        with Publisher(rabbitmq_server.url_of(namespace)) as publisher:
            publisher.publish("jobs", 5)
    trouble.space.wait_replicas("worker", 5)
    rabbitmq_server.remove_vhost(namespace)


def test_a_management_api_that_is_down_holds_what_is_in_flight(
    trouble: Trouble, rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str, publisher: Publisher
) -> None:
    publisher.publish("jobs", 3)
    publisher.take("jobs", 3)
    url = rabbitmq_server.url_of(rabbitmq_vhost)
    with Gate("127.0.0.1", rabbitmq_server.management_port, "cut") as gate:
        trouble.pool(rabbitmq_queue("jobs", url=url, management=f"http://127.0.0.1:{gate.port}"))
        with trouble.lasts("ManagementUnreachable", f"the management API at http://127.0.0.1:{gate.port} cannot be"):
            gate.open()
    assert trouble.space.replicas("worker") == 3


def test_one_unreadable_queue_of_several_still_lets_the_others_raise_the_pool(
    trouble: Trouble, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.set("broken", "no list")
    _fill(redis_server, 2)
    trouble.pool(redis_queue("broken", url=redis_server.url), redis_queue("jobs", url=redis_server.url))
    trouble.space.wait_condition("worker", "False", "WrongType")
    trouble.space.replicas_stay("worker", 3, seconds=HOLD_SECONDS)
    _fill(redis_server, 4)
    trouble.space.wait_replicas("worker", 6, seconds=3)
    queues = {queue["name"]: queue for queue in trouble.space.status("worker")["queues"]}
    assert queues["jobs"].get("error") is None
    assert "another type" in queues["broken"]["error"]
    assert queues["broken"].get("waiting") is None


def test_a_scale_that_the_cluster_refuses(trouble: Trouble, redis_server: RedisServer) -> None:
    space = trouble.space
    _fill(redis_server)
    policy = f"no-more-than-3.{space.name}"
    match = {"resourceRules": [_rule("apps", "v1", "deployments/scale")]}
    namespaced = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}}}
    validation = {"expression": "object.spec.replicas <= 3 || object.metadata.name != 'worker'", "message": "too many"}
    api_version = "admissionregistration.k8s.io/v1"
    space.api.apply(
        {
            "apiVersion": api_version,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": policy},
            "spec": {"matchConstraints": match | namespaced, "validations": [validation]},
        },
        {
            "apiVersion": api_version,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": policy},
            "spec": {"policyName": policy, "validationActions": ["Deny"]},
        },
    )
    space.deployment("worker", 3)
    wait_for(lambda: _denied(space), "the policy is in force", seconds=20)
    space.pool("worker", redis_queue("jobs", url=redis_server.url))
    with trouble.lasts("ScaleFailed", "Deployment worker could not be scaled to 5: "):
        for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
            space.api.delete(kind, None, policy)
    space.wait_replicas("worker", 5)


def _rule(group: str, version: str, resource: str) -> Document:
    return {"apiGroups": [group], "apiVersions": [version], "operations": ["UPDATE"], "resources": [resource]}


def _denied(space: Space) -> bool:
    return space.api.scale_refused("Deployment", space.name, "worker", 4)


@pytest.mark.usefixtures("operator_process")
def test_a_broker_without_pools_is_watched_too(space: Space, redis_server: RedisServer) -> None:
    space.broker("media", redis(redis_server.url))
    space.wait_condition("media", "True", "Connected", kind="QueueBroker")
    redis_server.stop()
    space.wait_condition("media", "False", "Unreachable", kind="QueueBroker", seconds=RECOVERY_SECONDS)
    redis_server.start()
    space.wait_condition("media", "True", "Connected", kind="QueueBroker", seconds=RECOVERY_SECONDS)
    redis_server.freeze()
    space.wait_condition("media", "False", "Timeout", kind="QueueBroker", seconds=RECOVERY_SECONDS)


@pytest.mark.usefixtures("operator_process")
def test_a_rabbitmq_without_pools_is_watched_too(space: Space, rabbitmq_server: RabbitMQServer) -> None:
    with Gate("127.0.0.1", rabbitmq_server.port) as gate:
        url = rabbitmq_server.url.replace(str(rabbitmq_server.port), str(gate.port))
        space.broker("rabbit", {"rabbitmq": {"url": url}})
        space.wait_condition("rabbit", "True", "Connected", kind="QueueBroker")
        gate.mute()
        space.wait_condition("rabbit", "False", "Timeout", kind="QueueBroker", seconds=RECOVERY_SECONDS)
        gate.open()
        space.wait_condition("rabbit", "True", "Connected", kind="QueueBroker", seconds=RECOVERY_SECONDS)
