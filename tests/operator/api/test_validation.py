"""What the schema refuses by CEL, the models refuse with the same words; and each field's limits are the same in both.

The rules and messages are compared here, and the models must refuse each sample that breaks a rule: an older CRD may
have let it in. That the API server does so is shown where there is one.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tests.operator.api.specs import GONE, SECRET, Document, pool, rabbitmq, redis
from workerpool_operator.api import BrokerSpec, WorkerPoolSpec
from workerpool_operator.api.crd import schema_of

TWO_BROKERS = {"redis": {"url": "redis://a"}, "rabbitmq": {"url": "amqp://a"}}

BREAKING: list[tuple[type[BaseModel], Document, str]] = [
    (BrokerSpec, {}, "set exactly one of redis and rabbitmq"),
    (BrokerSpec, TWO_BROKERS, "set exactly one of redis and rabbitmq"),
    (BrokerSpec, {"redis": {}}, "set exactly one of redis.url and redis.urlFrom"),
    (BrokerSpec, redis(redis__urlFrom=SECRET), "set exactly one of redis.url and redis.urlFrom"),
    (
        BrokerSpec,
        redis(redis__url="http://redis"),
        "redis.url must start with redis:// or rediss://, for example redis://redis:6379/0",
    ),
    (BrokerSpec, {"rabbitmq": {}}, "set exactly one of rabbitmq.url and rabbitmq.urlFrom"),
    (BrokerSpec, rabbitmq(rabbitmq__urlFrom=SECRET), "set exactly one of rabbitmq.url and rabbitmq.urlFrom"),
    (
        BrokerSpec,
        rabbitmq(rabbitmq__managementUrlFrom=SECRET),
        "set at most one of rabbitmq.managementUrl and rabbitmq.managementUrlFrom",
    ),
    (
        BrokerSpec,
        rabbitmq(rabbitmq__url="redis://rabbitmq"),
        "rabbitmq.url must start with amqp:// or amqps://, for example amqp://rabbitmq:5672/",
    ),
    (
        BrokerSpec,
        rabbitmq(rabbitmq__managementUrl="rabbitmq:15672"),
        "rabbitmq.managementUrl must start with http:// or https://, for example http://rabbitmq:15672",
    ),
    (
        WorkerPoolSpec,
        pool(minReplicas=11),
        "minReplicas must not be greater than maxReplicas: lower minReplicas or raise maxReplicas",
    ),
    (WorkerPoolSpec, pool(queues__0__redisList=GONE), "set exactly one kind of queue: redisList or rabbitmq"),
    (
        WorkerPoolSpec,
        pool(queues__0__rabbitmq={"queue": "a"}),
        "set exactly one kind of queue: redisList or rabbitmq",
    ),
    (
        WorkerPoolSpec,
        pool(queues__0__brokerRef=GONE),
        "set exactly one of broker (inline) and brokerRef (a QueueBroker in this namespace)",
    ),
    (
        WorkerPoolSpec,
        pool(queues__0__broker=redis()),
        "set exactly one of broker (inline) and brokerRef (a QueueBroker in this namespace)",
    ),
    (
        WorkerPoolSpec,
        pool(queues__1__broker=redis()),
        "the broker must fit the kind of queue: redisList needs broker.redis, rabbitmq needs broker.rabbitmq",
    ),
    (
        WorkerPoolSpec,
        pool(queues__0__brokerRef=GONE, queues__0__broker=rabbitmq()),
        "the broker must fit the kind of queue: redisList needs broker.redis, rabbitmq needs broker.rabbitmq",
    ),
]


def rules(schema: Any) -> list[tuple[str, str]]:
    """Every CEL rule of a schema, with its message."""
    if isinstance(schema, list):
        return [rule for part in schema for rule in rules(part)]
    if not isinstance(schema, dict):
        return []
    own = [(rule["rule"], rule["message"]) for rule in schema.get("x-kubernetes-validations", [])]
    return own + [rule for key, part in schema.items() if key != "x-kubernetes-validations" for rule in rules(part)]


def messages(model: type[BaseModel], document: Document) -> list[str]:
    """What the model has against a document."""
    with pytest.raises(ValidationError) as refused:
        model.model_validate(document)
    return [error["msg"].removeprefix("Value error, ") for error in refused.value.errors()]


@pytest.mark.parametrize(("model", "document", "message"), BREAKING)
def test_a_model_refuses_with_the_words_of_the_rule(model: type[BaseModel], document: Document, message: str) -> None:
    assert messages(model, document) == [message]


@pytest.mark.parametrize("message", sorted({message for _, message in rules(schema_of(WorkerPoolSpec))}))
def test_every_rule_of_the_schema_is_one_of_the_model(message: str) -> None:
    assert message in {broken for _, _, broken in BREAKING}


def test_rules_name_fields_that_exist() -> None:
    names = {
        name
        for rule, _ in rules(schema_of(WorkerPoolSpec))
        for name in rule.replace("(", " ").replace(")", " ").replace(".", " ").split()
        if name[0].isalpha() and name not in ("has", "self", "startsWith")
    }
    assert names == {
        *("minReplicas", "maxReplicas", "redisList", "rabbitmq", "broker", "brokerRef", "redis"),
        *("url", "urlFrom", "managementUrl", "managementUrlFrom"),
    }


@pytest.mark.parametrize(
    "document",
    [
        pool(),
        pool(minReplicas=10),
        pool(minReplicas=0, maxReplicas=100_000),
        pool(suspend=True),
        pool(behavior={}),
        pool(behavior__scaleDown__stabilizationWindowSeconds=3600),
        pool(scaleTargetRef={"apiVersion": "example.com/v1alpha1", "kind": "Rollout", "name": "a.b-c"}),
        pool(queues__1__rabbitmq__vhost="a/b %"),
        pool(queues__0__name="any name, up to 63 characters, Ünïcode too"),
    ],
)
def test_a_pool_is_taken(document: Document) -> None:
    assert WorkerPoolSpec.model_validate(document).max_replicas >= 10


@pytest.mark.parametrize(
    "document",
    [redis(), redis(redis={"urlFrom": SECRET}), rabbitmq(), rabbitmq(rabbitmq={"url": "amqps://u:p@h/v"})],
)
def test_a_broker_is_taken(document: Document) -> None:
    assert BrokerSpec.model_validate(document).connection is not None


@pytest.mark.parametrize(
    "document",
    [
        pool(minReplicas=-1),
        pool(maxReplicas=0),
        pool(maxReplicas=100_001),
        pool(maxReplicas=GONE),
        pool(queues=[]),
        pool(queues=[pool()["queues"][0] | {"name": f"q{number}"} for number in range(33)]),
        pool(queues__1__name="render"),
        pool(queues__0__name=""),
        pool(queues__0__name="x" * 64),
        pool(queues__0__redisList__key=""),
        pool(queues__0__redisList__key="x" * 1025),
        pool(queues__1__rabbitmq__queue="x" * 256),
        pool(scaling={}),
        pool(scaling__backlog__jobs=0),
        pool(scaling__backlog__jobs=1_000_000_001),
        pool(scaling__backlog__replicas=0),
        pool(scaling__backlog__jobs=1.5),
        pool(behavior__scaleDown__stabilizationWindowSeconds=3601),
        pool(behavior__scaleDown__stabilizationWindowSeconds=-1),
        pool(scaleTargetRef=GONE),
        pool(unknown=1),
        pool(queues__0__unknown=1),
        pool(queues__0__brokerRef__name="Media"),
    ],
)
def test_a_pool_is_refused(document: Document) -> None:
    assert len(messages(WorkerPoolSpec, document)) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../../other/deployments/victim"),
        ("name", "victim?x="),
        ("name", "victim#"),
        ("name", "a/b"),
        ("name", ".."),
        ("name", "victim\n"),
        ("kind", "Deployment/../x"),
        ("apiVersion", "apps/v1/namespaces/other"),
        ("apiVersion", "../../api/v1"),
        ("apiVersion", "v1?"),
    ],
)
def test_a_target_cannot_lead_to_another_path_of_the_api_server(field: str, value: str) -> None:
    """Names become part of the path that is patched, with the rights of the operator and not of the user."""
    assert len(messages(WorkerPoolSpec, pool(**{f"scaleTargetRef__{field}": value}))) == 1


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "x" * 254])
def test_a_secret_cannot_lead_to_another_path_of_the_api_server(name: str) -> None:
    selector = {"secretKeyRef": {"name": name, "key": "url"}}
    assert len(messages(BrokerSpec, redis(redis={"urlFrom": selector}))) == 1


@pytest.mark.parametrize(
    ("model", "document"),
    [
        (BrokerSpec, redis(redis__url="http://user:hunter2@redis")),
        (BrokerSpec, redis(redis__url="redis://user:hunter2@redis" + "x" * 2048)),
        (BrokerSpec, rabbitmq(rabbitmq__url="http://user:hunter2@rabbitmq")),
        (BrokerSpec, rabbitmq(rabbitmq__managementUrl="ftp://user:hunter2@rabbitmq")),
        (WorkerPoolSpec, pool(queues__1__broker__rabbitmq__url="http://user:hunter2@rabbitmq")),
    ],
)
def test_an_error_does_not_show_the_password_that_it_is_about(model: type[BaseModel], document: Document) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(document)
    told = [error["msg"] for error in refused.value.errors()]
    assert "hunter2" not in f"{refused.value} {refused.value!r} {told}"


@pytest.mark.parametrize(
    "spec",
    [
        BrokerSpec.model_validate(redis(redis__url="redis://user:hunter2@redis")),
        BrokerSpec.model_validate(
            rabbitmq(rabbitmq={"url": "amqp://user:hunter2@h", "managementUrl": "http://user:hunter2@h"})
        ),
        WorkerPoolSpec.model_validate(pool(queues__1__broker__rabbitmq__url="amqp://user:hunter2@h")),
    ],
)
def test_no_spec_shows_its_urls(spec: BaseModel) -> None:
    shown = f"{spec} {spec!r} {[spec]} { {'spec': spec} }"
    assert "hunter2" not in shown
    assert "://" not in shown


def test_defaults_are_those_of_the_hpa() -> None:
    spec = WorkerPoolSpec.model_validate(pool())
    assert (spec.min_replicas, spec.suspend) == (0, False)
    assert spec.behavior.scale_down.stabilization_window_seconds == 300
    assert (spec.scale_target_ref.api_version, spec.scale_target_ref.kind) == ("apps/v1", "Deployment")


def test_a_spec_is_immutable_and_hashable() -> None:
    spec = WorkerPoolSpec.model_validate(pool())
    with pytest.raises(ValidationError, match="frozen"):
        spec.max_replicas = 3  # type: ignore[misc]
    assert hash(spec) == hash(WorkerPoolSpec.model_validate(pool()))


@pytest.mark.parametrize(
    ("document", "secrets"),
    [
        (redis(), []),
        (redis(redis={"urlFrom": SECRET}), ["broker"]),
        (rabbitmq(rabbitmq={"urlFrom": SECRET}), ["broker"]),
        (
            rabbitmq(
                rabbitmq={"urlFrom": SECRET, "managementUrlFrom": {"secretKeyRef": {"name": "web", "key": "url"}}}
            ),
            ["broker", "web"],
        ),
    ],
)
def test_a_broker_tells_the_secrets_that_it_needs(document: Document, secrets: list[str]) -> None:
    assert [selector.name for selector in BrokerSpec.model_validate(document).secrets] == secrets
