"""Queues of jobs: claim, finish, retry, dead-letter; one file for each broker layout."""

from __future__ import annotations

from workerpool_worker.queues.base import Claim, Queue
from workerpool_worker.queues.rabbitmq import RabbitMQQueue
from workerpool_worker.queues.redis_list import RedisListQueue
from workerpool_worker.redaction import Redactor, password_source
from workerpool_worker.settings import Settings

__all__ = ["Claim", "Queue", "open_queue"]


def open_queue(settings: Settings, redactor: Redactor) -> Queue:
    """The queue that the settings name; it connects at its first use."""
    url = settings.broker_url.get_secret_value()
    inline = settings.broker_password.get_secret_value() if settings.broker_password else None
    password = password_source(inline, settings.broker_password_file, redactor)
    if settings.is_redis:
        return RedisListQueue(
            url=url,
            password=password,
            key=settings.queue,
            worker_id=settings.id,
            lease_seconds=settings.lease,
            max_attempts=settings.max_attempts,
        )
    return RabbitMQQueue(
        url=url,
        password=password,
        queue=settings.queue,
        worker_id=settings.id,
        prefetch=settings.concurrency,
        max_attempts=settings.max_attempts,
        declare=settings.queue_declare,
        job_seconds=settings.job_timeout,
    )
