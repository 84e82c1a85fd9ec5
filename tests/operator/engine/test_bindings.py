"""Each queue is bound to where it is read, or told what is missing, or waited for while a Secret is being read."""

from __future__ import annotations

import pytest

from workerpool_operator.api import BrokerSpec, QueueSpec, Unreadable
from workerpool_operator.brokers import RabbitMQEndpoint, RedisEndpoint
from workerpool_operator.brokers.layouts.rabbitmq_queue import RabbitMQQueueLayout
from workerpool_operator.brokers.layouts.redis_list import RedisListLayout
from workerpool_operator.cluster import ObjectRef
from workerpool_operator.engine.bindings import SecretValues, bind_broker, bind_queue
from workerpool_operator.engine.store import Binding, Broker, Key

FROM_SECRET = {"urlFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}}


def broker(spec: dict[str, object] | None, name: str = "media", invalid: str = "") -> dict[Key, Broker]:
    parsed = BrokerSpec.model_validate(spec) if spec is not None else None
    ref = ObjectRef("QueueBroker", "default", name, "uid")
    return {("default", name): Broker(ref, 1, 1, parsed, invalid)}


def by_reference(kind: str = "redisList") -> QueueSpec:
    what = {"key": "video"} if kind == "redisList" else {"queue": "video"}
    return QueueSpec.model_validate({"name": "q", "brokerRef": {"name": "media"}, kind: what})


def inline(spec: dict[str, object], **what: object) -> QueueSpec:
    return QueueSpec.model_validate({"name": "q", "broker": spec} | what)


class Values:
    """The Secrets that have been read."""

    def __init__(self, values: dict[Key, SecretValues] | None = None) -> None:
        self.values = values or {}

    def __call__(self, secret: Key) -> SecretValues | None:
        return self.values.get(secret)


REDIS: dict[str, object] = {"redis": {"url": "redis://redis:6379/0"}}
RABBITMQ: dict[str, object] = {"rabbitmq": {"url": "amqp://rabbitmq/"}}


def test_a_queue_with_a_broker_of_its_own() -> None:
    queue = inline(REDIS, redisList={"key": "video"})
    assert bind_queue("default", queue, {}, Values()) == Binding(
        RedisEndpoint("redis://redis:6379/0"), RedisListLayout("video")
    )


def test_a_queue_that_refers_to_a_broker_of_its_namespace() -> None:
    assert bind_queue("default", by_reference(), broker(REDIS), Values()) == Binding(
        RedisEndpoint("redis://redis:6379/0"), RedisListLayout("video")
    )


def test_a_queue_with_a_virtual_host_of_its_own() -> None:
    queue = inline(RABBITMQ, rabbitmq={"queue": "video", "vhost": "a/b"})
    assert bind_queue("default", queue, {}, Values()) == Binding(
        RabbitMQEndpoint("amqp://rabbitmq/a%2Fb"), RabbitMQQueueLayout("video")
    )


def test_a_url_out_of_a_secret_of_the_namespace() -> None:
    values = Values({("default", "broker"): {"url": "redis://secret/1"}, ("other", "broker"): {"url": "redis://no/1"}})
    queue = inline({"redis": FROM_SECRET}, redisList={"key": "video"})
    bound = bind_queue("default", queue, {}, values)
    assert isinstance(bound, Binding)
    assert bound.endpoint == RedisEndpoint("redis://secret/1")


def test_a_secret_that_is_not_read_yet_is_waited_for() -> None:
    assert bind_queue("default", inline({"redis": FROM_SECRET}, redisList={"key": "video"}), {}, Values()) is None
    assert bind_broker("default", BrokerSpec.model_validate({"redis": FROM_SECRET}), None, Values()) is None


@pytest.mark.parametrize(
    ("brokers", "kind", "reason", "message"),
    [
        (
            {},
            "redisList",
            "QueueBrokerMissing",
            "QueueBroker media does not exist in namespace default; create it or correct brokerRef",
        ),
        (
            broker(REDIS, name="other"),
            "redisList",
            "QueueBrokerMissing",
            "QueueBroker media does not exist in namespace default; create it or correct brokerRef",
        ),
        (
            broker(None, invalid="spec.redis: wrong"),
            "redisList",
            "QueueBrokerInvalid",
            "QueueBroker media is not valid: spec.redis: wrong",
        ),
        (
            broker(RABBITMQ),
            "redisList",
            "BrokerOfWrongKind",
            "QueueBroker media is rabbitmq, the queue needs redis; name another broker",
        ),
        (
            broker(REDIS),
            "rabbitmq",
            "BrokerOfWrongKind",
            "QueueBroker media is redis, the queue needs rabbitmq; name another broker",
        ),
    ],
)
def test_a_reference_that_leads_nowhere(brokers: dict[Key, Broker], kind: str, reason: str, message: str) -> None:
    assert bind_queue("default", by_reference(kind), brokers, Values()) == Unreadable(reason, message)


def test_a_broker_of_another_namespace_is_none() -> None:
    found = bind_queue("elsewhere", by_reference(), broker(REDIS), Values())
    assert isinstance(found, Unreadable)
    assert found.reason == "QueueBrokerMissing"


@pytest.mark.parametrize(
    ("values", "reason", "message"),
    [
        (
            {"other": "x"},
            "SecretKeyMissing",
            "Secret broker has no key url; add it, or correct secretKeyRef.key",
        ),
        (Unreadable("SecretMissing", "Secret broker is gone"), "SecretMissing", "Secret broker is gone"),
        (
            {"url": "hunter2"},
            "InvalidURL",
            "redis.url must start with redis:// or rediss://, for example redis://redis:6379/0",
        ),
    ],
)
def test_a_secret_that_does_not_help(values: SecretValues, reason: str, message: str) -> None:
    lookup = Values({("default", "broker"): values})
    for found in (
        bind_queue("default", inline({"redis": FROM_SECRET}, redisList={"key": "video"}), {}, lookup),
        bind_broker("default", BrokerSpec.model_validate({"redis": FROM_SECRET}), None, lookup),
    ):
        assert isinstance(found, Unreadable)
        assert (found.reason, found.message, found.whole_broker) == (reason, message, True)
