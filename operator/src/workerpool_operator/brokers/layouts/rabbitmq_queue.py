"""A RabbitMQ queue: ready messages wait, unacknowledged ones are in flight.

Ready messages come with AMQP's passive queue.declare; unacknowledged ones only over the management API.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RabbitMQQueueLayout:
    """The queue of this name, in the virtual host of its endpoint."""

    queue: str

    def describe(self) -> str:
        """The queue for a message."""
        return f"queue {self.queue}"
