"""Runs the worker as a user does: as a process, by its command line, environment, broker, signals and HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

from tests.servers.process import free_port
from tests.servers.smtp import SMTPServer

COMMAND = (sys.executable, "-m", "workerpool_worker")


class StartWorker(Protocol):
    def __call__(self, url: str, queue: str = "jobs", **settings: Any) -> WorkerProcess: ...


def eventually(condition: Callable[[], Any], seconds: float = 20, every: float = 0.03) -> Any:
    """The condition's value as soon as it is true."""
    end = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(every)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return True


def has_attempts(server: SMTPServer, count: int) -> bool:
    """Whether so many mails have come to their end at a server."""
    return server.attempts >= count


class WorkerProcess:
    """One ``workerpool-worker run``."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*COMMAND, "run"],
                env={**environment, "WORKER_LISTEN": f"127.0.0.1:{self.port}"},
                stderr=stderr,
                stdin=subprocess.DEVNULL,
            )

    @property
    def text(self) -> str:
        return self._log.read_text()

    def lines(self, message: str = "") -> list[dict[str, Any]]:
        """The log lines whose message contains a text."""
        complete = self.text.rpartition("\n")[0]
        return [line for line in map(json.loads, complete.splitlines()) if message in line["message"]]

    def wait_for(self, message: str, count: int = 1, seconds: float = 20) -> list[dict[str, Any]]:
        def enough() -> list[dict[str, Any]] | None:
            found = self.lines(message)
            return found if len(found) >= count else None

        found: list[dict[str, Any]] = eventually(enough, seconds)
        return found

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> Self:
        eventually(lambda: self.get("/readyz")[0] == 200)
        return self

    def metric(self, name: str) -> float:
        """A sample's value by its name, with labels when it has some."""
        samples = dict(line.rsplit(" ", 1) for line in self.get("/metrics")[1].splitlines() if line[0] != "#")
        return float(samples[name])

    def terminate(self, seconds: float = 20) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


class Workers:
    """The worker processes of one test."""

    def __init__(self, storage: Path) -> None:
        self._storage, self._started = storage, list[WorkerProcess]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._started:
            worker.kill()

    def start(self, url: str, queue: str = "jobs", **settings: Any) -> WorkerProcess:
        defaults: dict[str, object] = {
            "broker_url": url,
            "queue": queue,
            "storage_dir": self._storage,
            "retry_interval": 0.3,
            "lease": 1,
            "threads": 2,
            "id": f"worker-{len(self._started)}",
        }
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WORKER_")},
            **{
                f"WORKER_{name.upper()}": str(value)
                for name, value in {**defaults, **settings}.items()
                if name != "path"
            },
        }
        environment["PATH"] = f"{settings.get('path', '')}:{environment['PATH']}".lstrip(":")
        log = self._storage.parent / f"worker-{len(self._started)}.log"
        worker = WorkerProcess(environment, log)
        self._started.append(worker)
        return worker


def run_command(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def mail(number: int = 0, **fields: object) -> dict[str, object]:
    return {"kind": "email.send", "to": ["to@example.test"], "subject": f"mail {number}", "text": "hello", **fields}
