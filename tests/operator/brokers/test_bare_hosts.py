"""Host names without a dot mean Services of the pool's own namespace, where the operator runs in the cluster.

In: URLs as users write them. Out: the addresses that are connected to.
"""

import pytest

from workerpool_operator.api import BrokerSpec, SecretKeySelector
from workerpool_operator.brokers import RabbitMQEndpoint, endpoint_of


def _no_secret(_: SecretKeySelector) -> str:
    raise AssertionError("no Secret is asked for")


@pytest.mark.parametrize(
    ("url", "domain", "address"),
    [
        ("redis://redis:6379/0", "media.svc", "redis.media.svc:6379/0"),
        ("redis://:p%40ss@redis/2", "media.svc", "redis.media.svc:6379/2"),
        ("rediss://user:secret@cache", "media.svc", "cache.media.svc:6379/0"),
        ("redis://redis.other.svc:6379/0", "media.svc", "redis.other.svc:6379/0"),
        ("redis://10.0.0.1:6379/0", "media.svc", "10.0.0.1:6379/0"),
        ("redis://[::1]:6379/0", "media.svc", "[::1]:6379/0"),
        ("redis://localhost:6379/0", "media.svc", "localhost:6379/0"),
        ("redis://redis:6379/0", None, "redis:6379/0"),
    ],
)
def test_a_bare_redis_host_is_a_service_of_the_namespace(url: str, domain: str | None, address: str) -> None:
    endpoint = endpoint_of(BrokerSpec.model_validate({"redis": {"url": url}}), None, _no_secret, domain=domain)
    assert endpoint.address() == address


def test_rabbitmq_and_its_management_api_are_completed_alike_and_keep_user_and_vhost() -> None:
    broker = BrokerSpec.model_validate(
        {"rabbitmq": {"url": "amqp://me:secret@rabbitmq/a%2Fb", "managementUrl": "http://rabbitmq:15672"}}
    )
    endpoint = endpoint_of(broker, None, _no_secret, domain="media.svc")
    assert isinstance(endpoint, RabbitMQEndpoint)
    assert endpoint.address() == "rabbitmq.media.svc:5672/a/b"
    assert endpoint.management_url == "http://rabbitmq.media.svc:15672"
    assert endpoint.management_user == ("me", "secret")
