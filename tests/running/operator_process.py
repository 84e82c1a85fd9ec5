"""The operator as a process of its own, against any cluster, as a user runs it.

In: a kubeconfig and settings. Out: a running process with its log, its port and its probes; it ends with the block,
and with this process at the latest.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.servers.process import ServerError, wait_until


class OperatorProcess:
    """One replica; a context manager that starts it and waits until it is ready."""

    def __init__(self, kubeconfig: Path, **settings: str | float) -> None:
        """Settings by name, as in `settings.py`: `lease_name="a"` becomes WORKERPOOL_LEASE_NAME=a."""
        self._folder = tempfile.TemporaryDirectory(prefix="workerpool-operator-")
        self.log_file = Path(self._folder.name) / "log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("WORKERPOOL_")}
        defaults = {"http_port": "0", "http_host": "127.0.0.1"}
        for name, value in (defaults | settings).items():
            environment[f"WORKERPOOL_{name.upper()}"] = str(value)
        self._environment = environment | {"KUBECONFIG": str(kubeconfig)}
        self._process: subprocess.Popen[bytes] | None = None
        self._printed_before = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, timeout: float = 30, until_ready: bool = True) -> None:
        """Start the process and wait until /readyz says so (or, without `until_ready`, until it serves)."""
        self._printed_before = len(self.log)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dies_with_parent(), sys.executable, "-m", "workerpool_operator", "run"],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                # Ctrl-C in the terminal ends the tests, and those end the operator in order.
                start_new_session=True,
            )
        self._wait(self._ready if until_ready else self._serves, timeout)

    def wait_ready(self, *, timeout: float = 30) -> None:
        """Wait until /readyz says so."""
        self._wait(self._ready, timeout)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has printed so far."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    @property
    def port(self) -> int | None:
        """Of its HTTP server; None before it serves."""
        found = re.findall(r"on port (\d+)", self.log[self._printed_before :])
        return int(found[-1]) if found else None

    def get(self, path: str) -> str:
        """The body of a page of its HTTP server.

        Raises:
            OSError: not reachable, or not 200.
        """
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=30)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)

    def close(self) -> None:
        """End the process, whatever its state, and remove its folder."""
        if self.running:
            self.kill()
        self._folder.cleanup()

    def _wait(self, condition: Callable[[], bool], timeout: float) -> None:
        try:
            wait_until(condition, seconds=timeout, what="the operator is ready")
        except ServerError as error:
            raise ServerError(f"{error}; its log:\n{self.log}") from None

    def _serves(self) -> bool:
        if not self.running:
            raise ServerError("the operator ended at start")
        return self.port is not None

    def _ready(self) -> bool:
        if not self._serves():
            return False
        try:
            self.get("/readyz")
        except OSError:
            return False
        return True


def _dies_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
