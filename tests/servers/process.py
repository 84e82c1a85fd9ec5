"""Programs that tests start: on this machine, or in a container where the program is not installed.

In: a program with its arguments, its environment, the folder and the ports that it uses. Out: a running
process that can be stopped, killed, frozen and started again, and that ends with the test process even when
that one is killed. Programs listen on loopback only.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

SERVICES_IMAGE = "workerpool-test-services"
SERVICES_CONTEXT = Path(__file__).resolve().parents[1] / "cluster" / "images" / "services"

# A parent-death signal follows the thread that forked, so every program is forked by one thread that lives as
# long as the interpreter: a server started through asyncio.to_thread would else die with its loop.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ServerError(RuntimeError):
    """A server for the tests cannot be had; the message says what to install or look at."""


def free_port() -> int:
    """Return a loopback TCP port that is free now.

    Ports below the ephemeral range are taken at random, so that neither an outgoing connection nor another
    test process is likely to take the port before the server binds it.
    """
    for _ in range(200):
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerError("no free loopback port between 20000 and 32000: end the programs that hold them")


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str, every: float = 0.02) -> None:
    """Return when ``condition`` holds; raise ServerError naming ``what`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ServerError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


@dataclass(slots=True)
class Program:
    """One program that a test server consists of.

    Attributes:
        argv: The program and its arguments.
        folder: The only folder it writes to; its output goes to ``output.log`` there.
        ports: The TCP ports it listens on.
        env: Environment variables in addition to PATH and HOME.
        image: The container image to run it in; None runs it on this machine.
    """

    argv: Sequence[str]
    folder: Path
    ports: Sequence[int]
    env: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    _process: subprocess.Popen[bytes] | None = None
    _container: str = ""

    @property
    def log(self) -> str:
        """What the program has printed so far."""
        path = self.folder / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        """Whether the process lives (frozen counts as living)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the program; it is not ready yet when this returns."""
        if self.running:
            return
        argv, env = list(self.argv), {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.env}
        if self.image is not None:
            self._container = f"{SERVICES_IMAGE}-{uuid.uuid4().hex[:12]}"
            argv, env = self._docker_run(argv), dict(os.environ)
        elif setpriv := shutil.which("setpriv"):
            argv = [setpriv, "--pdeathsig", "KILL", "--", *argv]
        self._process = _spawner.submit(self._spawn, argv, env).result()
        atexit.register(self.stop, signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program, if it runs."""
        if not self.running or self._process is None:
            return
        if self.image is None:
            self._process.send_signal(number)
        else:
            subprocess.run(
                ["docker", "kill", "--signal", number.name, self._container], check=False, capture_output=True
            )

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> None:
        """End the program by ``number`` and wait for it; after ``seconds`` it is killed."""
        if self._process is None:
            return
        self.send(signal.SIGCONT)
        self.send(number)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._process.wait(seconds)
        self._process = None
        atexit.unregister(self.stop)

    def _spawn(self, argv: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal ends the tests, and those end the servers in order.
        with (self.folder / "output.log").open("ab") as output:
            return subprocess.Popen(
                argv,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _docker_run(self, argv: list[str]) -> list[str]:
        published = [f"--publish=127.0.0.1:{port}:{port}" for port in self.ports]
        variables = [f"--env={name}={value}" for name, value in self.env.items()]
        return [
            *("docker", "run", "--rm", "--init", "--name", self._container, "--volume"),
            f"{self.folder}:{self.folder}",
            *(f"--workdir={self.folder}", f"--env=HOME={self.folder}", *variables, *published),
            *(f"--entrypoint={argv[0]}", str(self.image), *argv[1:]),
        ]


@cache
def image_for(program: str) -> str | None:
    """Return None where ``program`` is installed, else the services image to run it in.

    Raises:
        ServerError: neither the program nor a Docker engine is there.
    """
    if shutil.which(program) or Path(program).is_file():
        return None
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], check=False, capture_output=True).returncode
    ):
        raise ServerError(
            f"{program} is not installed and no Docker engine answers: run `make setup` as root on Debian, "
            "or start Docker"
        )
    subprocess.run(["docker", "build", "--quiet", "--tag", SERVICES_IMAGE, str(SERVICES_CONTEXT)], check=True)
    return SERVICES_IMAGE
