"""The worker as a process on a real Redis: done, retried, buried, killed, drained, cut off; as a user sees it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.servers.redis import RedisServer
from tests.servers.smtp import SMTPServer
from tests.worker.harness import StartWorker, eventually, has_attempts, is_gone, mail, run_command
from tests.worker.jobs.test_video import probe

pytestmark = pytest.mark.servers


@pytest.fixture
def client(redis_server: RedisServer) -> Any:
    return redis_server.client()


def push(client: Any, *jobs: object) -> None:
    for job in jobs:
        client.lpush("jobs", job if isinstance(job, str | bytes) else json.dumps(job))


def is_drained(client: Any) -> bool:
    return not any(client.exists(key) for key in ("jobs", "{jobs}:active", "{jobs}:claims", "{jobs}:delayed"))


def dead(client: Any) -> list[dict[str, Any]]:
    return [json.loads(letter) for letter in client.lrange("{jobs}:dead", 0, -1)]


def mail_settings(smtp: SMTPServer) -> dict[str, Any]:
    return {"smtp_url": smtp.url, "smtp_from": "worker@example.test"}


def test_all_kinds_of_jobs_from_the_command_line_to_the_results(
    client: Any,
    redis_server: RedisServer,
    smtp_server: SMTPServer,
    start_worker: StartWorker,
    storage: Path,
    media: Path,
) -> None:
    shutil.copytree(media, storage, dirs_exist_ok=True)
    jobs = [
        {"kind": "video.transcode", "input": "clip.mkv", "output": "clip-out.mp4", "preset": "ultrafast"},
        {"kind": "video.thumbnail", "input": "clip.mkv", "output": "clip.jpg", "width": 64},
        {"kind": "image.resize", "input": "photo.jpg", "output": "small.webp", "width": 8},
        {"kind": "image.convert", "input": "photo.jpg", "output": "photo.png", "format": "png"},
        mail(id="mail-1", attachments=["photo.jpg"]),
    ]
    lines = "\n".join(json.dumps(job) for job in jobs)
    enqueued = run_command("enqueue", "--broker-url", redis_server.url, "--queue", "jobs", stdin=lines)
    ids = enqueued.stdout.split()
    assert (enqueued.returncode, len(ids), ids[-1]) == (0, 5, "mail-1")
    worker = start_worker(redis_server.url, concurrency=2, **mail_settings(smtp_server))
    done = worker.wait_for("done", count=5)
    assert {line["job_id"] for line in done} == set(ids)
    assert probe(storage / "clip-out.mp4")["streams"][0]["codec_name"] == "h264"
    assert all((storage / name).stat().st_size > 0 for name in ("clip.jpg", "small.webp", "photo.png"))
    assert [received.message["Subject"] for received in smtp_server.mails] == ["mail 0"]
    eventually(lambda: is_drained(client))
    assert dead(client) == []
    label = '{worker_id="worker-0"}'
    assert worker.metric(f"worker_messages_processed_total{label}") == 5
    assert worker.metric(f"worker_messages_failed_total{label}") == 0
    assert worker.metric(f"worker_active_tasks{label}") == 0
    assert worker.metric(f"worker_retry_attempts{label}") == 0
    assert worker.metric("redis_queue_size") == 0
    counted = 'worker_job_duration_seconds_count{kind="image.resize",status="done",worker_id="worker-0"}'
    assert worker.metric(counted) == 1


@pytest.mark.parametrize(
    ("payload", "mend"),
    [
        ("not json", "not JSON"),
        ("[1, 2]", "JSON array"),
        ("42", "JSON number"),
        (b"\xff\x00", "not UTF-8"),
        ("", "not JSON"),
        (json.dumps({"kind": "email.send", "x": "y" * 2_000_000}), "WORKER_MAX_PAYLOAD_BYTES"),
        (
            json.dumps({"id": "j", "kind": "image.resize", "input": "../x", "output": "o.png", "width": 1}),
            "leaves the storage",
        ),
        (json.dumps({"kind": "video.transcode", "input": "missing", "output": "o.mp4"}), "not in the storage"),
        ('{"workerpool.dev/envelope":1,"id":"x","claim":"c","attempts":0,"firstAt":1,"payload":"boo"}', "not JSON"),
    ],
)
def test_a_bad_job_is_a_dead_letter_at_once_and_the_next_job_is_done(
    client: Any,
    redis_server: RedisServer,
    smtp_server: SMTPServer,
    start_worker: StartWorker,
    payload: str | bytes,
    mend: str,
) -> None:
    push(client, payload, mail())
    start_worker(redis_server.url, **mail_settings(smtp_server)).wait_for("done")
    [letter] = dead(client)
    assert mend in letter["reason"]
    assert letter["attempts"] == 1
    assert is_drained(client)


def test_temporary_failures_are_retried_with_backoff_and_end_dead(
    client: Any, redis_server: RedisServer, smtp_server: SMTPServer, start_worker: StartWorker
) -> None:
    smtp_server.answer_always("451 try later")
    push(client, mail(id="m"))
    worker = start_worker(redis_server.url, retry_interval=0.4, **mail_settings(smtp_server))
    worker.wait_for("dead")
    [letter] = dead(client)
    assert (letter["id"], letter["attempts"]) == ("m", 3)
    assert "451 try later" in letter["reason"]
    assert json.loads(letter["payload"]) == mail(id="m")
    assert smtp_server.attempts == 3
    label = '{worker_id="worker-0"}'
    assert worker.metric(f"worker_retry_attempts{label}") == 2
    assert worker.metric(f"worker_messages_failed_total{label}") == 3
    assert worker.metric(f"worker_dead_letters_total{label}") == 1
    assert is_drained(client)


def test_a_failure_that_passes_is_done_after_all(
    client: Any, redis_server: RedisServer, smtp_server: SMTPServer, start_worker: StartWorker
) -> None:
    smtp_server.answer_next("451 try later", "421 closing")
    push(client, mail())
    worker = start_worker(redis_server.url, **mail_settings(smtp_server))
    assert worker.wait_for("done")[0]["attempt"] == 3
    assert len(smtp_server.mails) == 1


def test_a_killed_workers_job_is_counted_in_flight_comes_back_and_is_done(
    client: Any, redis_server: RedisServer, smtp_server: SMTPServer, start_worker: StartWorker
) -> None:
    smtp_server.hold()
    push(client, mail(id="held"))
    first = start_worker(redis_server.url, **mail_settings(smtp_server))
    eventually(lambda: smtp_server.attempts == 1)
    assert (client.llen("jobs"), client.zcard("{jobs}:active")) == (0, 1)
    first.kill()
    assert client.zcard("{jobs}:active") == 1
    smtp_server.let_go()
    second = start_worker(redis_server.url, **mail_settings(smtp_server))
    done = second.wait_for("done")[0]
    assert (done["job_id"], done["attempt"]) == ("held", 2)
    eventually(lambda: is_drained(client))
    assert dead(client) == []


def test_workers_killed_at_any_moment_lose_no_job(
    client: Any, redis_server: RedisServer, smtp_server: SMTPServer, start_worker: StartWorker
) -> None:
    push(client, *(mail(number) for number in range(300)))
    settings = {**mail_settings(smtp_server), "lease": 0.5, "concurrency": 4, "max_attempts": 20}
    for _ in range(4):
        worker = start_worker(redis_server.url, **settings)
        eventually(partial(has_attempts, smtp_server, smtp_server.attempts + 10))
        worker.kill()
    start_worker(redis_server.url, **settings)
    eventually(lambda: is_drained(client), seconds=30)
    assert dead(client) == []
    assert {received.message["Subject"] for received in smtp_server.mails} == {f"mail {n}" for n in range(300)}


def test_ffmpeg_dies_with_a_killed_worker_and_leaves_no_half_file(
    client: Any, redis_server: RedisServer, start_worker: StartWorker, storage: Path, slow_ffmpeg: SlowFFmpeg
) -> None:
    push(client, {"kind": "video.transcode", "input": "clip.mkv", "output": "out.mp4"})
    worker = start_worker(redis_server.url, path=slow_ffmpeg.folder)
    slow_ffmpeg.wait_until_running()
    worker.kill()
    eventually(slow_ffmpeg.itself_is_gone)
    assert not (storage / "out.mp4").exists()
    second = start_worker(redis_server.url)
    second.wait_for("done")
    assert probe(storage / "out.mp4")["streams"][0]["codec_name"] == "h264"


def test_a_timeout_ends_ffmpeg_and_its_children(
    client: Any, redis_server: RedisServer, start_worker: StartWorker, storage: Path, slow_ffmpeg: SlowFFmpeg
) -> None:
    push(client, {"kind": "video.transcode", "input": "clip.mkv", "output": "out.mp4"})
    worker = start_worker(redis_server.url, path=slow_ffmpeg.folder, job_timeout=1, max_attempts=1)
    slow_ffmpeg.wait_until_running()
    worker.wait_for("dead")
    eventually(slow_ffmpeg.with_child_is_gone)
    assert "not done within 1 s" in dead(client)[0]["reason"]
    assert sorted(path.name for path in storage.iterdir()) == ["clip.mkv"]


def test_sigterm_claims_nothing_more_finishes_and_exits_0(
    client: Any, redis_server: RedisServer, smtp_server: SMTPServer, start_worker: StartWorker
) -> None:
    smtp_server.hold()
    push(client, mail(1), mail(2))
    worker = start_worker(redis_server.url, **mail_settings(smtp_server))
    eventually(lambda: smtp_server.attempts == 1)
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: worker.get("/readyz") == (503, '{"status": "not ready", "reason": "draining"}'))
    assert worker.get("/healthz")[0] == 200
    eventually(lambda: client.zscore("{jobs}:active", client.zrange("{jobs}:active", 0, 0)[0]))
    smtp_server.let_go()
    assert worker.process.wait(20) == 0
    assert len(smtp_server.mails) == 1
    assert (client.llen("jobs"), client.zcard("{jobs}:active")) == (1, 0)


def test_an_idle_worker_exits_0_at_once(redis_server: RedisServer, start_worker: StartWorker) -> None:
    worker = start_worker(redis_server.url).wait_ready()
    assert worker.terminate(seconds=3) == 0


def test_an_idle_worker_exits_0_soon_when_redis_does_not_answer(
    redis_server: RedisServer, start_worker: StartWorker
) -> None:
    worker = start_worker(redis_server.url).wait_ready()
    redis_server.freeze()
    assert worker.terminate(seconds=15) == 0


@pytest.mark.parametrize("how", ["second signal", "drain timeout"])
def test_a_drain_that_may_not_wait_gives_the_job_back_unharmed(
    client: Any, redis_server: RedisServer, smtp_server: SMTPServer, start_worker: StartWorker, how: str
) -> None:
    smtp_server.hold()
    job = json.dumps(mail(id="m"))
    push(client, job)
    timeout: dict[str, Any] = {"drain_timeout": 0.3} if how == "drain timeout" else {}
    worker = start_worker(redis_server.url, **timeout, **mail_settings(smtp_server))
    eventually(lambda: smtp_server.attempts == 1)
    worker.process.send_signal(signal.SIGTERM)
    if how == "second signal":
        worker.wait_for("draining")
        worker.process.send_signal(signal.SIGINT)
    assert worker.process.wait(10) == 0
    assert client.lrange("jobs", 0, -1) == [job]
    assert client.zcard("{jobs}:active") == 0


def test_a_restarted_redis_is_found_again(
    client: Any, redis_server: RedisServer, smtp_server: SMTPServer, start_worker: StartWorker
) -> None:
    smtp_server.hold()
    push(client, mail(1))
    worker = start_worker(redis_server.url, lease=30, **mail_settings(smtp_server)).wait_ready()
    eventually(lambda: smtp_server.attempts == 1)
    redis_server.kill()
    eventually(lambda: worker.get("/readyz")[0] == 503)
    smtp_server.let_go()
    worker.wait_for("not told of a job's end")
    redis_server.start()
    worker.wait_for("done")
    worker.wait_ready()
    push(client, mail(2))
    worker.wait_for("done", count=2)
    assert len(smtp_server.mails) == 2
    assert is_drained(client)


def test_a_worker_may_start_before_its_redis(
    client: Any, redis_server: RedisServer, smtp_server: SMTPServer, start_worker: StartWorker
) -> None:
    redis_server.stop()
    worker = start_worker(redis_server.url, **mail_settings(smtp_server))
    worker.wait_for("Redis")
    assert worker.get("/readyz")[0] == 503
    redis_server.start()
    push(client, mail())
    worker.wait_for("done")


def test_no_secret_is_in_logs_metrics_or_dead_letters(
    redis_server: RedisServer, smtp_server: SMTPServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    redis_server.set_password("hunter2-redis")
    smtp_server.require_login("user", "hunter2-smtp")
    smtp_server.answer_always("550 no: hunter2-smtp")
    password = tmp_path / "password"
    password.write_text("hunter2-redis\n")
    client = redis_server.client()
    push(client, mail())
    worker = start_worker(
        f"redis://127.0.0.1:{redis_server.port}",
        broker_password_file=password,
        smtp_url=smtp_server.url.replace("://", "://user:hunter2-smtp@"),
        smtp_from="a@example.test",
        smtp_tls="off",
        log_level="DEBUG",
    )
    worker.wait_for("dead")
    [letter] = dead(client)
    assert "550" in letter["reason"]
    wrong = start_worker(redis_server.url.replace("hunter2-redis", "hunter2-wrong"))
    wrong.wait_for("refuses the login")
    for text in (worker.text, wrong.text, letter["reason"], worker.get("/metrics")[1]):
        assert "hunter2" not in text


@pytest.fixture
def slow_ffmpeg(tmp_path: Path, storage: Path, media: Path) -> Iterator[SlowFFmpeg]:
    shutil.copy(media / "clip.mkv", storage)
    slow = SlowFFmpeg(tmp_path / "bin")
    yield slow
    slow.end()


class SlowFFmpeg:
    """An ffmpeg first on the PATH that never ends and has a child: what a hanging encoder would be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        program = folder / "ffmpeg"
        program.write_text(
            f"#!/bin/sh\nsleep 1000 &\necho $$ $! > {folder}/pids.new; mv {folder}/pids.new {folder}/pids\nwait\n"
        )
        program.chmod(0o755)

    def wait_until_running(self) -> None:
        eventually((self.folder / "pids").exists)

    def itself_is_gone(self) -> bool:
        return is_gone(self._pids()[0])

    def with_child_is_gone(self) -> bool:
        return all(is_gone(pid) for pid in self._pids())

    def end(self) -> None:
        for pid in self._pids():
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)

    def _pids(self) -> list[int]:
        return [int(pid) for pid in (self.folder / "pids").read_text().split()]
