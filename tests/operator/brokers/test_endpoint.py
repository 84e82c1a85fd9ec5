"""A URL out of a Secret is checked before anything is connected to, and no error about it shows any of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.operator.brokers.reading import quoted, rabbitmq_endpoint, redis_endpoint
from workerpool_operator.api import BrokerSpec, QueueSpec
from workerpool_operator.brokers import BrokerError, RabbitMQEndpoint, RedisEndpoint, endpoint_of, layout_of


@pytest.mark.parametrize(
    ("url", "host", "port", "database", "user", "tls"),
    [
        ("redis://redis", "redis", 6379, 0, (None, None), False),
        ("redis://redis:1/0", "redis", 1, 0, (None, None), False),
        ("redis://redis/", "redis", 6379, 0, (None, None), False),
        ("redis://redis/12", "redis", 6379, 12, (None, None), False),
        ("redis://redis?db=3", "redis", 6379, 3, (None, None), False),
        ("rediss://:s%40%2Fcret@redis:1/0", "redis", 1, 0, (None, "s@/cret"), True),
        ("redis://eve:secret@[::1]:1/0", "::1", 1, 0, ("eve", "secret"), False),
        ("redis://eve@redis", "redis", 6379, 0, ("eve", None), False),
        ("  redis://redis:1/2\n", "redis", 1, 2, (None, None), False),
    ],
)
def test_a_redis_url_is_read(
    url: str, host: str, port: int, database: int, user: tuple[str | None, str | None], *, tls: bool
) -> None:
    endpoint = redis_endpoint(url)
    assert (endpoint.host, endpoint.port, endpoint.database, endpoint.user) == (host, port, database, user)
    assert (endpoint.tls, endpoint.verify) == (tls, True)


def test_a_redis_certificate_is_unchecked_only_on_request() -> None:
    assert redis_endpoint("rediss://redis?ssl_cert_reqs=none").verify is False


@pytest.mark.parametrize(
    ("url", "vhost", "read", "port", "user"),
    [
        ("amqp://rabbitmq", None, "/", 5672, ("guest", "guest")),
        ("amqp://rabbitmq/", None, "/", 5672, ("guest", "guest")),
        ("amqp://rabbitmq/%2F", None, "/", 5672, ("guest", "guest")),
        ("amqp://rabbitmq//", None, "/", 5672, ("guest", "guest")),
        ("amqps://eve:se%2Fcret@rabbitmq/video", None, "video", 5671, ("eve", "se/cret")),
        ("amqp://eve@rabbitmq:1/a%2Fb", None, "a/b", 1, ("eve", "")),
        ("amqp://rabbitmq/a/b", None, "a/b", 5672, ("guest", "guest")),
        ("amqp://rabbitmq/%25", None, "%", 5672, ("guest", "guest")),
        ("amqp://rabbitmq/url", "own", "own", 5672, ("guest", "guest")),
        ("amqp://rabbitmq/url", "/", "/", 5672, ("guest", "guest")),
        ("amqp://rabbitmq/", "a/b %25 ü@", "a/b %25 ü@", 5672, ("guest", "guest")),
    ],
)
def test_an_amqp_url_is_read(url: str, vhost: str | None, read: str, port: int, user: tuple[str, str]) -> None:
    endpoint = rabbitmq_endpoint(url, vhost=vhost)
    assert (endpoint.vhost, endpoint.port, endpoint.user) == (read, port, user)


@pytest.mark.parametrize(
    ("management", "base", "user"),
    [
        (None, None, None),
        ("http://rabbitmq:15672", "http://rabbitmq:15672", ("eve", "secret")),
        ("http://rabbitmq:15672/", "http://rabbitmq:15672", ("eve", "secret")),
        ("https://ops:p%40ss@rabbitmq/prefix/", "https://rabbitmq/prefix", ("ops", "p@ss")),
    ],
)
def test_the_management_url_is_split_from_its_credentials(
    management: str | None, base: str | None, user: tuple[str, str] | None
) -> None:
    endpoint = rabbitmq_endpoint("amqp://eve:secret@rabbitmq/", management)
    assert (endpoint.management_url, endpoint.management_user) == (base, user)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        (redis_endpoint(f"redis://eve:{quoted()}@redis"), "redis:6379/0"),
        (redis_endpoint(f"redis://eve:{quoted()}@[::1]:7/3"), "[::1]:7/3"),
        (rabbitmq_endpoint(f"amqp://eve:{quoted()}@rabbitmq/"), "rabbitmq:5672/"),
        (rabbitmq_endpoint(f"amqps://eve:{quoted()}@rabbitmq/a%2Fb"), "rabbitmq:5671/a/b"),
        (rabbitmq_endpoint("amqp://h/", f"http://eve:{quoted()}@h"), "h:5672/"),
    ],
)
def test_an_address_and_a_repr_show_no_credential(endpoint: RedisEndpoint | RabbitMQEndpoint, address: str) -> None:
    assert endpoint.address() == address
    assert "hunter2" not in f"{endpoint} {endpoint!r}"
    assert "eve" not in f"{endpoint} {endpoint!r}"


def test_equal_urls_share_an_endpoint_and_other_credentials_do_not() -> None:
    assert redis_endpoint("redis://a:b@h/0\n") == redis_endpoint("redis://a:b@h/0")
    assert redis_endpoint("redis://a:b@h/0") != redis_endpoint("redis://a:c@h/0")
    assert (
        rabbitmq_endpoint("amqp://h") == rabbitmq_endpoint("amqp://h/%2F") == rabbitmq_endpoint("amqp://h/", vhost="/")
    )


REDIS = "redis.url must start with redis:// or rediss://, for example redis://redis:6379/0"
AMQP = "rabbitmq.url must start with amqp:// or amqps://, for example amqp://rabbitmq:5672/"
HTTP = "rabbitmq.managementUrl must start with http:// or https://, for example http://rabbitmq:15672"

MAKE: dict[str, Callable[[str], RedisEndpoint | RabbitMQEndpoint]] = {
    "redis": redis_endpoint,
    "amqp": rabbitmq_endpoint,
    "http": lambda url: rabbitmq_endpoint("amqp://h", url),
}
GARBAGE = [
    ("", ""),
    ("{scheme}", "the URL names no host; "),
    ("hunter2", ""),
    ("//eve:hunter2@host", ""),
    (" : {scheme}eve:hunter2@host", ""),
    ("{scheme}eve:hunter2@", "the URL names no host; "),
    ("{scheme}eve:hunter2@:1", "the URL names no host; "),
    ("{scheme}eve:hunter2@host:port", "the URL cannot be parsed; check host and port; "),
    ("{scheme}eve:hunter2@host:99999", "the URL cannot be parsed; check host and port; "),
    ("{scheme}eve:hunter2@[::1", "the URL cannot be parsed; check host and port; "),
    ("{scheme}eve:[hunter2@host", "the URL cannot be parsed; check host and port; "),
    ("{scheme}eve:hunter2@host:0", "the URL names no possible host and port; "),
    ("{scheme}eve:hunter2@ho st", "the URL names no possible host and port; "),
    ("{scheme}eve:hunter2@ho\x00st", "the URL names no possible host and port; "),
    ("{scheme}eve:hunter2@a..b", "the URL names no possible host and port; "),
    ("{scheme}eve:hunter2@" + "a" * 64, "the URL names no possible host and port; "),
    # Special characters of a password that should have been percent-encoded.
    ("{scheme}eve:1/hunter2@host", "the URL has an @ or # after the host; percent-encode special characters; "),
    ("{scheme}eve:1?hunter2@host", "the URL has an @ or # after the host; percent-encode special characters; "),
    ("{scheme}eve:1#hunter2@host", "the URL has an @ or # after the host; percent-encode special characters; "),
    ("{scheme}eve:hunter2/@host", "the URL cannot be parsed; check host and port; "),
]


@pytest.mark.parametrize(("text", "problem"), GARBAGE)
@pytest.mark.parametrize("broker", ["redis", "amqp", "http"])
def test_garbage_is_refused_without_showing_it(broker: str, text: str, problem: str) -> None:
    with pytest.raises(BrokerError) as refused:
        MAKE[broker](text.replace("{scheme}", f"{broker}://"))
    assert refused.value.reason == "InvalidURL"
    assert refused.value.message == problem + {"redis": REDIS, "amqp": AMQP, "http": HTTP}[broker]
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://h/hunter2", "the URL's database is not a number; "),
        ("redis://h/1/2", "the URL's database is not a number; "),
        ("redis://h/-1", "the URL's database is not a number; "),
        ("redis://h/" + "9" * 5000, "the URL's database is not a number; "),
        ("redis://h?db=hunter2", "the URL's database is not a number; "),
        ("rediss://h?ssl_cert_reqs=hunter2", "the URL's ssl_cert_reqs is neither none nor required; "),
        (
            "redis://h?hunter2=1",
            "the URL has an option that is not supported: only db and ssl_cert_reqs may follow the ?; ",
        ),
        (
            "redis://h/0?decode_responses=true",
            "the URL has an option that is not supported: only db and ssl_cert_reqs may follow the ?; ",
        ),
    ],
)
def test_a_redis_url_that_a_client_would_misread_is_refused(url: str, problem: str) -> None:
    with pytest.raises(BrokerError) as refused:
        redis_endpoint(url)
    assert (refused.value.reason, refused.value.message) == ("InvalidURL", problem + REDIS)


@pytest.mark.parametrize(
    ("url", "vhost", "problem"),
    [
        ("amqp://h/" + "x" * 256, None, "the virtual host is longer than 255 bytes; "),
        ("amqp://h/", "ü" * 128, "the virtual host is longer than 255 bytes; "),
        ("amqp://h/?heartbeat=hunter2", None, "the URL's heartbeat is not a number of seconds; "),
        ("amqp://h/?heartbeat=65536", None, "the URL's heartbeat is not a number of seconds; "),
        (
            "amqp://h/?ssl_options=((((",
            None,
            "the URL has an option that is not supported: only heartbeat may follow the ?; ",
        ),
    ],
)
def test_an_amqp_url_that_a_client_would_misread_is_refused(url: str, vhost: str | None, problem: str) -> None:
    with pytest.raises(BrokerError) as refused:
        rabbitmq_endpoint(url, vhost=vhost)
    assert (refused.value.reason, refused.value.message) == ("InvalidURL", problem + AMQP)


def test_a_heartbeat_is_taken() -> None:
    assert rabbitmq_endpoint("amqp://h/?heartbeat=60").heartbeat == 60
    assert rabbitmq_endpoint("amqp://h/").heartbeat is None


@pytest.mark.parametrize(("url", "management"), [("amqp://h", "http://a%3Ab:c@h"), ("amqp://a%3Ab:c@h", "http://h")])
def test_a_user_that_http_cannot_name_is_refused(url: str, management: str) -> None:
    with pytest.raises(BrokerError, match="a user with a colon in its name cannot use the management API") as refused:
        rabbitmq_endpoint(url, management)
    assert refused.value.reason == "InvalidURL"


def test_a_management_url_takes_no_options() -> None:
    with pytest.raises(BrokerError, match=r"nothing may follow a \?"):
        rabbitmq_endpoint("amqp://h", "http://h?a=b")


def test_why_a_secret_is_missing_is_passed_on() -> None:
    def secret(_selector: object) -> str:
        raise BrokerError("SecretMissing", "Secret x does not exist")

    spec = BrokerSpec.model_validate({"redis": {"urlFrom": {"secretKeyRef": {"name": "x", "key": "url"}}}})
    with pytest.raises(BrokerError, match="Secret x does not exist"):
        endpoint_of(spec, None, secret)


odd = st.text(alphabet="aé1.:/@#?%&=[]_-+ \\\x00\t\n%2F" + "\u2100", max_size=40)
urls = st.one_of(
    st.text(max_size=40),
    st.builds("{}://{}".format, st.sampled_from(["redis", "rediss", "amqp", "amqps", "http"]), odd),
    st.builds("{}://u:p@h{}".format, st.sampled_from(["redis", "amqp", "amqps"]), odd),
)


@given(urls)
@settings(max_examples=400, deadline=None)
def test_whatever_a_secret_holds_is_an_endpoint_or_an_error_that_tells(url: str) -> None:
    """An exception of another kind would end the task that reads the broker."""
    for make in MAKE.values():
        try:
            endpoint = make(url)
        except BrokerError:
            continue
        assert endpoint.address()
        assert 0 < endpoint.port < 65_536
        assert endpoint.host
        used = endpoint.database if isinstance(endpoint, RedisEndpoint) else (endpoint.vhost, endpoint.heartbeat)
        assert used is not None
        assert len(endpoint.user) == 2


@pytest.mark.parametrize(
    ("kind", "described"),
    [({"redisList": {"key": "video"}}, "list video"), ({"rabbitmq": {"queue": "video"}}, "queue video")],
)
def test_a_layout_describes_its_queue(kind: dict[str, object], described: str) -> None:
    queue = QueueSpec.model_validate({"name": "q", "brokerRef": {"name": "b"}} | kind)
    assert layout_of(queue).describe() == described
    assert layout_of(queue) == layout_of(queue)
