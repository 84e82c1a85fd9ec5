"""Queue depths out of Redis and RabbitMQ, in batches.

Comes in: an `Endpoint` (a connection with its credentials resolved) and the queues to read. Goes out: a `Depth`
or an `Unreadable` for each queue, and `BrokerError` when the whole broker cannot be read. One file for each
broker, one small file for each queue layout.
"""

from workerpool_operator.brokers.base import BrokerError, Endpoint, Layout, Reader, ServerInfo
from workerpool_operator.brokers.endpoint import RabbitMQEndpoint, RedisEndpoint, endpoint_of, layout_of
from workerpool_operator.brokers.open import open_reader

__all__ = [
    "BrokerError",
    "Endpoint",
    "Layout",
    "RabbitMQEndpoint",
    "Reader",
    "RedisEndpoint",
    "ServerInfo",
    "endpoint_of",
    "layout_of",
    "open_reader",
]
