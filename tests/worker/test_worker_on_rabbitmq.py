"""The worker as a process on a real RabbitMQ: done, retried, buried, killed, drained, cut off."""

from __future__ import annotations

import json
import signal
import urllib.error
from collections.abc import Callable
from functools import partial
from typing import Any

import pika
import pytest

from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.smtp import SMTPServer
from tests.worker.harness import StartWorker, WorkerProcess, eventually, has_attempts, mail, run_command

pytestmark = pytest.mark.servers

Start = Callable[..., WorkerProcess]


@pytest.fixture
def url(rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str) -> str:
    return rabbitmq_server.url_of(rabbitmq_vhost)


@pytest.fixture
def start(url: str, smtp_server: SMTPServer, start_worker: StartWorker) -> Start:
    def started(**settings: Any) -> WorkerProcess:
        return start_worker(url, smtp_url=smtp_server.url, smtp_from="worker@example.test", **settings)

    return started


def push(url: str, *jobs: dict[str, object]) -> None:
    lines = "\n".join(json.dumps(job) for job in jobs)
    enqueued = run_command("enqueue", "--queue", "jobs", stdin=lines, WORKER_BROKER_URL=url)
    assert enqueued.returncode == 0, enqueued.stderr


def depth(url: str, queue: str = "jobs") -> int:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        count: int = connection.channel().queue_declare(queue, passive=True).method.message_count
        return count


def test_jobs_are_done_retried_and_buried(url: str, smtp_server: SMTPServer, start: Start) -> None:
    smtp_server.answer_next("451 later")
    push(url, mail(1, id="flaky"))
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().basic_publish("", "jobs", b"\xff not json")
    worker = start()
    assert worker.wait_for("dead")[0]["kind"] == "invalid"
    done = worker.wait_for("done")[0]
    assert (done["job_id"], done["attempt"]) == ("flaky", 2)
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        _, properties, body = connection.channel().basic_get("jobs.dead")
        assert body == b"\xff not json"
        assert "not UTF-8" in properties.headers["x-workerpool-reason"]
    assert worker.get("/readyz")[0] == 200
    assert worker.metric('worker_messages_processed_total{worker_id="worker-0"}') == 1
    assert "redis_queue_size" not in worker.get("/metrics")[1]
    assert worker.terminate() == 0
    assert depth(url) == 0


def test_a_killed_workers_job_comes_back_and_is_done(url: str, smtp_server: SMTPServer, start: Start) -> None:
    smtp_server.hold()
    push(url, mail(id="held"))
    first = start()
    eventually(lambda: smtp_server.attempts == 1)
    first.kill()
    smtp_server.let_go()
    done = start().wait_for("done")[0]
    assert (done["job_id"], done["attempt"]) == ("held", 2)


def test_workers_killed_at_any_moment_lose_no_job(url: str, smtp_server: SMTPServer, start: Start) -> None:
    push(url, *(mail(number) for number in range(150)))
    for _ in range(3):
        enough = partial(has_attempts, smtp_server, smtp_server.attempts + 10)
        worker = start(concurrency=4, max_attempts=20)
        eventually(enough)
        worker.kill()
    start(concurrency=4, max_attempts=20)
    everything = {f"mail {number}" for number in range(150)}
    eventually(lambda: {received.message["Subject"] for received in smtp_server.mails} == everything, seconds=30)
    eventually(lambda: depth(url) == 0)


def test_sigterm_finishes_what_is_in_hand_and_exits_0(url: str, smtp_server: SMTPServer, start: Start) -> None:
    smtp_server.hold()
    push(url, mail(1), mail(2))
    worker = start()
    eventually(lambda: smtp_server.attempts == 1)
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_for("draining")
    smtp_server.let_go()
    assert worker.process.wait(20) == 0
    assert len(smtp_server.mails) == 1
    assert depth(url) == 1


def test_a_drain_timeout_gives_the_job_back_uncounted(url: str, smtp_server: SMTPServer, start: Start) -> None:
    smtp_server.hold()
    push(url, mail(id="m"))
    worker = start(drain_timeout=0.3, max_attempts=1)
    eventually(lambda: smtp_server.attempts == 1)
    assert worker.terminate() == 0
    assert depth(url) == 1
    smtp_server.let_go()
    assert start(max_attempts=1).wait_for("done")[0]["attempt"] == 1


def test_a_restarted_rabbitmq_is_found_again_and_work_is_not_repeated(
    url: str, smtp_server: SMTPServer, start: Start, rabbitmq_server: RabbitMQServer
) -> None:
    smtp_server.hold()
    push(url, mail(1, id="one"), mail(2, id="two"))
    worker = start().wait_ready()
    eventually(lambda: smtp_server.attempts == 1)
    rabbitmq_server.kill()
    eventually(lambda: worker.get("/readyz")[0] == 503)
    rabbitmq_server.start()
    smtp_server.let_go()
    eventually(lambda: len(smtp_server.mails) == 2, seconds=40)
    eventually(lambda: depth(url) == 0)
    assert [line["job_id"] for line in worker.wait_for("done", count=2)] == ["one", "two"]
    assert worker.terminate() == 0


def test_a_deleted_queue_is_declared_again(
    url: str, smtp_server: SMTPServer, start: Start, rabbitmq_server: RabbitMQServer, rabbitmq_vhost: str
) -> None:
    worker = start().wait_ready()
    rabbitmq_server.api("DELETE", f"queues/{rabbitmq_vhost}/jobs")

    def is_back() -> bool:
        try:
            return bool(rabbitmq_server.queue("jobs", rabbitmq_vhost)["durable"])
        except urllib.error.HTTPError:
            return False

    eventually(is_back)
    push(url, mail())
    worker.wait_for("done")
    assert len(smtp_server.mails) == 1
