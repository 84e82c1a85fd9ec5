"""Opens the reader that fits an endpoint.

Comes in: an endpoint and the time limit of its calls in seconds. Goes out: a `Reader`, not yet connected.
"""

from workerpool_operator.brokers.base import Endpoint, Reader
from workerpool_operator.brokers.endpoint import RabbitMQEndpoint, RedisEndpoint
from workerpool_operator.brokers.rabbitmq import RabbitMQReader
from workerpool_operator.brokers.redis import RedisReader


def open_reader(endpoint: Endpoint, timeout: float) -> Reader:
    """A reader for the endpoint.

    Args:
        endpoint: where.
        timeout: seconds that one read, connecting included, may take.

    Raises:
        TypeError: the endpoint is of no known broker.
    """
    match endpoint:
        case RedisEndpoint():
            return RedisReader(endpoint, timeout)
        case RabbitMQEndpoint():
            return RabbitMQReader(endpoint, timeout)
        case _:
            raise TypeError(f"no reader for {type(endpoint).__name__}")
