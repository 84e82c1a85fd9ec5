"""What users write and read: WorkerPool, QueueBroker, their status, and the CRDs made from them.

The models here are the one source of truth: `crds/*.yaml` and the chart's copy are generated from them.
Comes in: objects as the API server serves them. Goes out: typed specs, typed status, CRD documents.
"""

from workerpool_operator.api.conditions import Condition, ConditionStatus, merge_conditions
from workerpool_operator.api.depth import Depth, QueueReading, Unreadable
from workerpool_operator.api.meta import GROUP, PLURALS, VERSION
from workerpool_operator.api.queuebroker import (
    BrokerSpec,
    QueueBrokerStatus,
    RabbitMQConnection,
    RedisConnection,
    SecretKeySelector,
)
from workerpool_operator.api.workerpool import (
    QueueSpec,
    QueueStatus,
    RabbitMQQueue,
    RedisList,
    ScaleTargetRef,
    WorkerPoolSpec,
    WorkerPoolStatus,
)

__all__ = [
    "GROUP",
    "PLURALS",
    "VERSION",
    "BrokerSpec",
    "Condition",
    "ConditionStatus",
    "Depth",
    "QueueBrokerStatus",
    "QueueReading",
    "QueueSpec",
    "QueueStatus",
    "RabbitMQConnection",
    "RabbitMQQueue",
    "RedisConnection",
    "RedisList",
    "ScaleTargetRef",
    "SecretKeySelector",
    "Unreadable",
    "WorkerPoolSpec",
    "WorkerPoolStatus",
    "merge_conditions",
]
