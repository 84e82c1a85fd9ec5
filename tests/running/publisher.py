"""Fills and empties RabbitMQ queues over AMQP.

In: a URL, names of queues. Out: messages that wait, or that a consumer holds without having acknowledged them.
"""

from typing import Self

import pika


class Publisher:
    """One connection that declares, publishes, takes and acknowledges; a context manager."""

    def __init__(self, url: str) -> None:
        parameters = pika.URLParameters(url)
        # A test may take longer than a heartbeat, and nothing is read meanwhile.
        parameters.heartbeat = 0
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection.is_open:
            self._connection.close()

    def declare(self, queue: str) -> None:
        """Make sure that a durable queue exists."""
        self._channel.queue_declare(queue, durable=True)

    def publish(self, queue: str, count: int) -> None:
        """Add messages."""
        self.declare(queue)
        self._channel.confirm_delivery()
        for number in range(count):
            self._channel.basic_publish("", queue, str(number).encode(), pika.BasicProperties(delivery_mode=2))

    def take(self, queue: str, count: int) -> list[int]:
        """Take messages without acknowledging them; what to give to `finish`."""
        return [int(self._channel.basic_get(queue)[0].delivery_tag) for _ in range(count)]

    def finish(self, taken: list[int]) -> None:
        """Acknowledge."""
        for tag in taken:
            self._channel.basic_ack(tag)

    def delete(self, queue: str) -> None:
        """Delete a queue."""
        self._channel.queue_delete(queue)
