"""The script that `helm test` runs, against a server that answers as an operator does, well and badly."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.chart.rendering import CHART

SCRIPT = (CHART / "files" / "helm_test.py").read_text()


class Operator(BaseHTTPRequestHandler):
    """Answers with what the server was given for a path."""

    answers: dict[str, tuple[int, bytes]]

    def do_GET(self) -> None:
        status, body = self.answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Operator) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def outcome(server: ThreadingHTTPServer, readyz: int, metrics: bytes) -> tuple[int, str]:
    """Exit status and output of the script; its minute of patience is over at once."""
    Operator.answers = {"/readyz": (readyz, b""), "/metrics": (200, metrics)}
    script = SCRIPT.replace("DEADLINE_SECONDS = 60.0", "DEADLINE_SECONDS = 0.0")
    url = f"http://127.0.0.1:{server.server_address[1]}"
    done = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout + done.stderr


def test_it_passes_when_the_operator_is_ready(server: ThreadingHTTPServer) -> None:
    assert outcome(server, 200, b"workerpool_pools 0\n") == (
        0,
        f"http://127.0.0.1:{server.server_address[1]}: ready, and /metrics answers\n",
    )


def test_it_fails_when_the_operator_is_not_ready(server: ThreadingHTTPServer) -> None:
    status, said = outcome(server, 503, b"workerpool_pools 0\n")
    assert status == 1
    assert "503" in said


def test_it_fails_when_something_else_answers(server: ThreadingHTTPServer) -> None:
    status, said = outcome(server, 200, b"go_goroutines 7\n")
    assert status == 1
    assert "has no workerpool_ metric" in said
