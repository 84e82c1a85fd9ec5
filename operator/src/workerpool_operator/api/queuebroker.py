"""QueueBroker: one connection to Redis or RabbitMQ, shared by the pools of its namespace.

Comes in: `spec` of a QueueBroker, or a queue's inline `broker`. Goes out: typed connections. Their URLs
may hold credentials: they are kept out of every repr.
"""

from typing import Annotated

from pydantic import Field, model_validator

from workerpool_operator.api.conditions import Condition
from workerpool_operator.api.meta import NAME_PATTERN, SpecModel, StatusModel, cel, exactly_one

_URL_LENGTH = 2048


class SecretKeySelector(SpecModel):
    """One key of a Secret in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN, description="Name of the Secret.")]
    key: Annotated[str, Field(min_length=1, max_length=253, description="Key within the Secret's data.")]


class ValueSource(SpecModel):
    """Where a value is read from."""

    secret_key_ref: Annotated[
        SecretKeySelector, Field(description="A key of a Secret in the namespace of this object.")
    ]


REDIS_SCHEMES = ("redis://", "rediss://")
AMQP_SCHEMES = ("amqp://", "amqps://")
HTTP_SCHEMES = ("http://", "https://")


def scheme_message(field: str, schemes: tuple[str, ...], example: str) -> str:
    """The one wording for a URL of the wrong scheme."""
    return f"{field} must start with {' or '.join(schemes)}, for example {example}"


REDIS_URL_MESSAGE = scheme_message("redis.url", REDIS_SCHEMES, "redis://redis:6379/0")
AMQP_URL_MESSAGE = scheme_message("rabbitmq.url", AMQP_SCHEMES, "amqp://rabbitmq:5672/")
HTTP_URL_MESSAGE = scheme_message("rabbitmq.managementUrl", HTTP_SCHEMES, "http://rabbitmq:15672")


def _scheme_rule(schemes: tuple[str, ...], message: str) -> dict[str, object]:
    return cel((" || ".join(f"self.startsWith('{scheme}')" for scheme in schemes), message))


class RedisConnection(SpecModel):
    """A Redis server, 6.2 or later, or one that speaks its protocol."""

    model_config = SpecModel.model_config | {
        "json_schema_extra": cel(
            ("has(self.url) != has(self.urlFrom)", "set exactly one of redis.url and redis.urlFrom")
        )
    }

    url: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=_URL_LENGTH,
            repr=False,
            description="redis://[user:password@]host[:port][/database], or rediss:// for TLS. "
            "A host without a dot is a Service in the namespace of this object. "
            "A URL with a password belongs in a Secret: use urlFrom.",
            json_schema_extra=_scheme_rule(REDIS_SCHEMES, REDIS_URL_MESSAGE),
        ),
    ] = None
    url_from: Annotated[ValueSource | None, Field(description="Where to read the URL from, instead of url.")] = None

    @model_validator(mode="after")
    def _one_source(self) -> "RedisConnection":
        exactly_one(self.url, self.url_from, "set exactly one of redis.url and redis.urlFrom")
        if self.url is not None and not self.url.startswith(REDIS_SCHEMES):
            raise ValueError(REDIS_URL_MESSAGE)
        return self


class RabbitMQConnection(SpecModel):
    """A RabbitMQ server: AMQP for waiting messages, its management API (optional) for unacknowledged ones."""

    model_config = SpecModel.model_config | {
        "json_schema_extra": cel(
            ("has(self.url) != has(self.urlFrom)", "set exactly one of rabbitmq.url and rabbitmq.urlFrom"),
            (
                "!has(self.managementUrl) || !has(self.managementUrlFrom)",
                "set at most one of rabbitmq.managementUrl and rabbitmq.managementUrlFrom",
            ),
        )
    }

    url: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=_URL_LENGTH,
            repr=False,
            description="amqp://[user:password@]host[:port]/[vhost], or amqps:// for TLS. "
            "A host without a dot is a Service in the namespace of this object. "
            "A URL with a password belongs in a Secret: use urlFrom.",
            json_schema_extra=_scheme_rule(AMQP_SCHEMES, AMQP_URL_MESSAGE),
        ),
    ] = None
    url_from: Annotated[ValueSource | None, Field(description="Where to read the URL from, instead of url.")] = None
    management_url: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=_URL_LENGTH,
            repr=False,
            description="http(s)://[user:password@]host:port of the management API; the credentials of url are "
            "used where it has none. Without it, messages in flight are unknown.",
            json_schema_extra=_scheme_rule(HTTP_SCHEMES, HTTP_URL_MESSAGE),
        ),
    ] = None
    management_url_from: Annotated[
        ValueSource | None,
        Field(description="Where to read the management URL from, instead of managementUrl."),
    ] = None

    @model_validator(mode="after")
    def _sources(self) -> "RabbitMQConnection":
        exactly_one(self.url, self.url_from, "set exactly one of rabbitmq.url and rabbitmq.urlFrom")
        if self.management_url is not None and self.management_url_from is not None:
            raise ValueError("set at most one of rabbitmq.managementUrl and rabbitmq.managementUrlFrom")
        if self.url is not None and not self.url.startswith(AMQP_SCHEMES):
            raise ValueError(AMQP_URL_MESSAGE)
        if self.management_url is not None and not self.management_url.startswith(HTTP_SCHEMES):
            raise ValueError(HTTP_URL_MESSAGE)
        return self


class BrokerSpec(SpecModel):
    """Exactly one broker."""

    model_config = SpecModel.model_config | {
        "json_schema_extra": cel(("has(self.redis) != has(self.rabbitmq)", "set exactly one of redis and rabbitmq"))
    }

    redis: Annotated[RedisConnection | None, Field(description="A Redis server.")] = None
    rabbitmq: Annotated[RabbitMQConnection | None, Field(description="A RabbitMQ server.")] = None

    @model_validator(mode="after")
    def _one_broker(self) -> "BrokerSpec":
        exactly_one(self.redis, self.rabbitmq, "set exactly one of redis and rabbitmq")
        return self

    @property
    def connection(self) -> RedisConnection | RabbitMQConnection:
        """The one connection that is set."""
        connection = self.redis or self.rabbitmq
        if connection is None:
            raise ValueError("a validated BrokerSpec has one connection")
        return connection

    @property
    def kind(self) -> str:
        """`redis` or `rabbitmq`."""
        return "redis" if self.redis is not None else "rabbitmq"

    @property
    def secrets(self) -> tuple[SecretKeySelector, ...]:
        """Every Secret key that the connection is made from."""
        connection = self.connection
        sources = [connection.url_from]
        if isinstance(connection, RabbitMQConnection):
            sources.append(connection.management_url_from)
        return tuple(source.secret_key_ref for source in sources if source is not None)


class QueueBrokerStatus(StatusModel):
    """What the operator knows of a QueueBroker's connection."""

    observed_generation: Annotated[
        int | None,
        Field(
            description="metadata.generation that this status is about.",
            json_schema_extra={"format": "int64"},
        ),
    ] = None
    server_version: Annotated[str | None, Field(description="Version that the server reports.")] = None
    latency_milliseconds: Annotated[
        int | None,
        Field(description="How long the last batch of reads took.", json_schema_extra={"format": "int64"}),
    ] = None
    queues: Annotated[
        int | None,
        Field(
            description="Queues of WorkerPools read over this connection.",
            json_schema_extra={"format": "int32"},
        ),
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            description="Connected: whether the broker answers.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
