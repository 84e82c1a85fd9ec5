"""WorkerPool: a scale target, the queues that its workers consume, and how to scale.

Comes in: `spec` of a WorkerPool. Goes out: a frozen, validated `WorkerPoolSpec`; and `WorkerPoolStatus`,
which the operator writes.
"""

from typing import Annotated

from pydantic import Field, model_validator

from workerpool_operator.api.conditions import Condition
from workerpool_operator.api.meta import NAME_PATTERN, SpecModel, StatusModel, cel, exactly_one
from workerpool_operator.api.queuebroker import BrokerSpec

_INT32 = {"format": "int32"}
_MAX_REPLICAS = 100_000

MIN_ABOVE_MAX = "minReplicas must not be greater than maxReplicas: lower minReplicas or raise maxReplicas"
ONE_QUEUE_KIND = "set exactly one kind of queue: redisList or rabbitmq"
ONE_BROKER = "set exactly one of broker (inline) and brokerRef (a QueueBroker in this namespace)"
BROKER_OF_KIND = "the broker must fit the kind of queue: redisList needs broker.redis, rabbitmq needs broker.rabbitmq"


class ScaleTargetRef(SpecModel):
    """An object with a scale subresource, in the namespace of the WorkerPool."""

    api_version: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+$",
            description="API version of the target.",
        ),
    ] = "apps/v1"
    kind: Annotated[
        str, Field(min_length=1, max_length=63, pattern="^[A-Za-z][A-Za-z0-9]*$", description="Kind of the target.")
    ] = "Deployment"
    name: Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN, description="Name of the target.")]


class RedisList(SpecModel):
    """A Redis LIST, one job an element.

    What is in flight is known where the workers keep the layout of this project's worker image (docs/queues.md);
    of a plain list it is unknown.
    """

    key: Annotated[str, Field(min_length=1, max_length=1024, description="Key of the list.")]


class RabbitMQQueue(SpecModel):
    """A RabbitMQ queue, classic or quorum, one job a message."""

    queue: Annotated[str, Field(min_length=1, max_length=255, description="Name of the queue.")]
    vhost: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            description="Virtual host, where it is not the one of the broker's URL.",
        ),
    ] = None


class BrokerRef(SpecModel):
    """A QueueBroker of the same namespace."""

    name: Annotated[
        str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN, description="Name of the QueueBroker.")
    ]


class QueueSpec(SpecModel):
    """One queue that the pool's workers consume: where it is, and what it is."""

    model_config = SpecModel.model_config | {
        "json_schema_extra": cel(
            ("has(self.redisList) != has(self.rabbitmq)", ONE_QUEUE_KIND),
            ("has(self.broker) != has(self.brokerRef)", ONE_BROKER),
            ("!has(self.broker) || !has(self.redisList) || has(self.broker.redis)", BROKER_OF_KIND),
            ("!has(self.broker) || !has(self.rabbitmq) || has(self.broker.rabbitmq)", BROKER_OF_KIND),
        )
    }

    name: Annotated[
        str,
        Field(min_length=1, max_length=63, description="Name of the queue in status, metrics and messages."),
    ]
    broker_ref: Annotated[BrokerRef | None, Field(description="A QueueBroker of this namespace.")] = None
    broker: Annotated[BrokerSpec | None, Field(description="A broker, inline, instead of brokerRef.")] = None
    redis_list: Annotated[RedisList | None, Field(description="A Redis list.")] = None
    rabbitmq: Annotated[RabbitMQQueue | None, Field(description="A RabbitMQ queue.")] = None

    @model_validator(mode="after")
    def _one_of_each(self) -> "QueueSpec":
        exactly_one(self.redis_list, self.rabbitmq, ONE_QUEUE_KIND)
        exactly_one(self.broker, self.broker_ref, ONE_BROKER)
        if self.broker is not None and self.broker.kind != self.broker_kind:
            raise ValueError(BROKER_OF_KIND)
        return self

    @property
    def broker_kind(self) -> str:
        """`redis` or `rabbitmq`: the kind of broker that this kind of queue lives in."""
        return "redis" if self.redis_list is not None else "rabbitmq"


class BacklogRule(SpecModel):
    """`replicas` replicas for every `jobs` jobs begun: ceil((waiting + in flight) / jobs) * replicas."""

    jobs: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000_000,
            description="Jobs, waiting or in flight, of one step.",
            json_schema_extra=_INT32,
        ),
    ]
    replicas: Annotated[
        int,
        Field(ge=1, le=_MAX_REPLICAS, description="Replicas for each step begun.", json_schema_extra=_INT32),
    ] = 1


class ScalingSpec(SpecModel):
    """The rule that turns depth into replicas."""

    backlog: Annotated[BacklogRule, Field(description="Replicas in proportion to the jobs waiting and in flight.")]


class ScaleDownBehavior(SpecModel):
    """How replicas are taken away."""

    stabilization_window_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=3600,
            description="Replicas are lowered only to the most that was wanted within this time, as in the HPA.",
            json_schema_extra=_INT32,
        ),
    ] = 300


class BehaviorSpec(SpecModel):
    """How fast replicas follow the rule."""

    scale_down: Annotated[ScaleDownBehavior, Field(description="How replicas are taken away.")] = ScaleDownBehavior()


class WorkerPoolSpec(SpecModel):
    """Keeps a scale target at the size that its queues need."""

    model_config = SpecModel.model_config | {
        "json_schema_extra": cel(("self.minReplicas <= self.maxReplicas", MIN_ABOVE_MAX))
    }

    scale_target_ref: Annotated[
        ScaleTargetRef,
        Field(description="What is scaled: a Deployment, StatefulSet, or anything with /scale."),
    ]
    min_replicas: Annotated[
        int,
        Field(
            ge=0,
            le=_MAX_REPLICAS,
            description="Fewest replicas; 0 lets an empty pool go to zero.",
            json_schema_extra=_INT32,
        ),
    ] = 0
    max_replicas: Annotated[int, Field(ge=1, le=_MAX_REPLICAS, description="Most replicas.", json_schema_extra=_INT32)]
    queues: Annotated[
        tuple[QueueSpec, ...],
        Field(
            min_length=1,
            max_length=32,
            description="Queues that the workers consume; their jobs add up.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    scaling: Annotated[ScalingSpec, Field(description="The rule that turns depth into replicas.")]
    behavior: Annotated[BehaviorSpec, Field(description="How fast replicas follow the rule.")] = BehaviorSpec()
    suspend: Annotated[bool, Field(description="True leaves the target's replicas alone.")] = False

    @model_validator(mode="after")
    def _bounds(self) -> "WorkerPoolSpec":
        if self.min_replicas > self.max_replicas:
            raise ValueError(MIN_ABOVE_MAX)
        names = [queue.name for queue in self.queues]
        if len(set(names)) != len(names):
            raise ValueError("the names of queues must differ from each other")
        return self


class QueueStatus(StatusModel):
    """What is known of one queue."""

    name: Annotated[str, Field(description="The queue's name in the spec.")]
    waiting: Annotated[
        int | None, Field(description="Jobs ready to be claimed.", json_schema_extra={"format": "int64"})
    ] = None
    in_flight: Annotated[
        int | None,
        Field(
            description="Jobs claimed and not finished; absent when unknown.",
            json_schema_extra={"format": "int64"},
        ),
    ] = None
    delayed: Annotated[
        int | None,
        Field(description="Jobs due later; absent when unknown.", json_schema_extra={"format": "int64"}),
    ] = None
    error: Annotated[str | None, Field(description="Why the queue could not be read.")] = None


class WorkerPoolStatus(StatusModel):
    """What the operator sees and decided."""

    observed_generation: Annotated[
        int | None,
        Field(
            description="metadata.generation that this status is about.",
            json_schema_extra={"format": "int64"},
        ),
    ] = None
    replicas: Annotated[
        int | None, Field(description="Replicas that the target has now.", json_schema_extra=_INT32)
    ] = None
    desired_replicas: Annotated[
        int | None, Field(description="Replicas that the target should have.", json_schema_extra=_INT32)
    ] = None
    waiting: Annotated[
        int | None, Field(description="Jobs waiting, over all queues.", json_schema_extra={"format": "int64"})
    ] = None
    in_flight: Annotated[
        int | None,
        Field(description="Jobs in flight, over all queues.", json_schema_extra={"format": "int64"}),
    ] = None
    delayed: Annotated[
        int | None,
        Field(description="Jobs due later, over all queues.", json_schema_extra={"format": "int64"}),
    ] = None
    queues: Annotated[
        tuple[QueueStatus, ...],
        Field(
            description="Each queue's depth.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    last_scale_time: Annotated[
        str | None,
        Field(
            description="When the replicas were last changed by this pool.",
            json_schema_extra={"format": "date-time"},
        ),
    ] = None
    reason: Annotated[str | None, Field(description="Why this many replicas, as one CamelCase word.")] = None
    message: Annotated[str | None, Field(description="Why this many replicas, as one sentence with the numbers.")] = (
        None
    )
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            description="Ready, BrokersReachable, Active, ScalingLimited, Suspended.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
