"""The command line: help, wrong settings, enqueueing all or nothing."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.worker.harness import StartWorker, mail, run_command
from workerpool_worker.settings import Settings


def test_help_names_every_setting_with_its_variable_and_flag() -> None:
    said = run_command("run", "--help").stdout
    for name in Settings.model_fields:
        assert f"WORKER_{name.upper()}" in said
        is_secret = name in ("broker_password", "smtp_password")
        assert (f"--{name.replace('_', '-')} VALUE" in said) is not is_secret


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        ([], "broker_url is missing: set WORKER_BROKER_URL or --broker-url"),
        (["--broker-url", "http://x", "--queue", "q"], "redis://"),
        (["--broker-url", "redis://:hunter2@", "--queue", "q"], "name the host"),
        (["--broker-url", "redis://:hunter2@x:port", "--queue", "q"], "not a URL"),
        (["--broker-url", "redis://x", "--queue", "q", "--concurrency", "0"], "WORKER_CONCURRENCY or --concurrency"),
        (["--broker-url", "redis://x", "--queue", "q", "--job-timeout", "inf"], "job_timeout"),
        (["--broker-url", "redis://x", "--queue", "q", "--listen", "9100"], "host:port"),
        (["--broker-url", "redis://x", "--queue", "q", "--smtp-from", "nobody"], "WORKER_SMTP_FROM"),
        (["--broker-url", "redis://x", "--queue", "q", "--listen", "256.0.0.1:9100"], "WORKER_LISTEN"),
    ],
)
def test_a_wrong_setting_exits_2_and_says_the_mend(arguments: list[str], mend: str) -> None:
    ended = run_command("run", *arguments)
    assert ended.returncode == 2
    assert mend in ended.stderr
    assert "hunter2" not in ended.stderr


def test_a_port_in_use_exits_2_and_names_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run_command("run", "--broker-url", "redis://127.0.0.1:1", "--queue", "q", "--listen", listen)
    assert ended.returncode == 2
    assert "WORKER_LISTEN" in ended.stderr


@pytest.mark.servers
def test_a_misspelt_variable_is_warned_of(redis_server: RedisServer, start_worker: StartWorker) -> None:
    worker = start_worker(redis_server.url, concurency=3, service_host="10.0.0.1", port="tcp://10.0.0.1:80")
    assert [line["message"] for line in worker.wait_for("is no setting")] == [
        "environment variable WORKER_CONCURENCY is no setting: see workerpool-worker run --help"
    ]


@pytest.mark.servers
@pytest.mark.parametrize("way", ["arguments", "stdin", "file of lines", "file with an array"])
def test_jobs_are_enqueued_from_anywhere_in_order(redis_server: RedisServer, tmp_path: Path, way: str) -> None:
    jobs = [json.dumps(mail(1, id="one")), json.dumps(mail(2))]
    file, stdin, arguments = tmp_path / "jobs", "", list[str]()
    match way:
        case "arguments":
            arguments = jobs
        case "stdin":
            stdin = "\n\n".join(jobs)
        case _:
            file.write_text("\n".join(jobs) if way == "file of lines" else f"[{','.join(jobs)}]")
            arguments = ["--file", str(file)]
    ended = run_command("enqueue", "--broker-url", redis_server.url, "--queue", "q", *arguments, stdin=stdin)
    assert ended.returncode == 0, ended.stderr
    one, two = (json.loads(element) for element in redis_server.client().lrange("q", 0, -1)[::-1])
    assert (one["id"], one["subject"], two["subject"]) == ("one", "mail 1", "mail 2")
    assert ended.stdout.split() == ["one", two["id"]]


@pytest.mark.servers
def test_one_wrong_job_stops_all(redis_server: RedisServer) -> None:
    lines = "\n".join([json.dumps(mail()), '{"kind": "video.transcode"}', "no"])
    ended = run_command("enqueue", "--broker-url", redis_server.url, "--queue", "q", stdin=lines)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "line 2: not a valid video.transcode job: input: Field required" in ended.stderr
    assert "line 3" in ended.stderr
    assert redis_server.client().llen("q") == 0


def test_no_jobs_and_no_broker_are_said() -> None:
    arguments = ("enqueue", "--broker-url", f"redis://:hunter2@127.0.0.1:{free_port()}", "--queue", "q")
    ended = run_command(*arguments)
    assert (ended.returncode, "no jobs" in ended.stderr) == (2, True)
    ended = run_command(*arguments, json.dumps(mail()))
    assert (ended.returncode, "Redis: " in ended.stderr) == (1, True)
    assert "hunter2" not in ended.stderr
