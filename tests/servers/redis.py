"""A real Redis server for tests, on a free loopback port, with its data in a temporary folder.

In: nothing. Out: a URL, and control of the process: stop, kill, start again with the data kept, freeze,
password, ACL users. Every write is in the append-only file, so a kill loses nothing.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Self

import redis

from tests.servers.process import Program, ServerError, free_port, image_for, wait_until


class RedisServer:
    """One Redis process; a context manager that starts it and removes everything afterwards."""

    def __init__(self) -> None:
        self.port = free_port()
        self.password: str | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="workerpool-redis-"))
        image = image_for("redis-server")
        self._program = Program(
            argv=[
                "redis-server",
                *("--port", str(self.port), "--bind", "127.0.0.1" if image is None else "0.0.0.0"),
                *("--protected-mode", "no", "--daemonize", "no", "--dir", str(self._folder)),
                *("--save", "", "--appendonly", "yes", "--appendfsync", "no"),
            ],
            folder=self._folder,
            ports=[self.port],
            image=image,
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL of database 0, with the password when one is set."""
        return self.url_of()

    def url_of(self, username: str = "", password: str | None = None, db: int = 0) -> str:
        """The URL for an ACL user, or for the default user with the server's password."""
        secret = self.password if password is None else password
        login = f"{username}:{secret}@" if secret is not None else ""
        return f"redis://{login}127.0.0.1:{self.port}/{db}"

    def client(self) -> redis.Redis:
        """A blocking client of the default user, with text replies, for arranging and checking."""
        return redis.Redis(port=self.port, password=self.password, decode_responses=True, socket_timeout=10)

    def start(self) -> None:
        """Start the server (again) and wait until it answers."""
        self._program.start()
        wait_until(self._answers, seconds=20, what=f"Redis on port {self.port} answers ({self._folder}/output.log)")

    def stop(self) -> None:
        """Shut the server down in order; the data stays for the next start."""
        self._program.stop(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server; the data stays for the next start."""
        self._program.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process by SIGSTOP: connections stay open and nothing answers."""
        self._program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._program.send(signal.SIGCONT)

    def set_password(self, password: str | None) -> None:
        """Require ``password`` of the default user (None: no password). Open connections stay logged in."""
        with self.client() as client:
            client.config_set("requirepass", password or "")
        self.password = password

    def add_user(self, name: str, password: str, *rules: str) -> None:
        """Create an ACL user; without rules it may do everything."""
        granted = rules or ("~*", "&*", "+@all")
        with self.client() as client:
            client.execute_command("ACL", "SETUSER", name, "reset", "on", f">{password}", *granted)

    def disconnect_clients(self) -> None:
        """Close every other client's connection."""
        with self.client() as client:
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def reset(self) -> None:
        """Make it as new: running, thawed, empty, no password, no users, default configuration."""
        self.thaw()
        self.start()
        with self.client() as client:
            for name in client.acl_users():
                if name != "default":
                    client.acl_deluser(name)
            client.flushall()
            client.config_set("maxmemory", "0")
        self.set_password(None)

    def close(self) -> None:
        """End the process and remove its folder."""
        self._program.stop(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        if not self._program.running:
            raise ServerError(f"Redis ended at start:\n{self._program.log[-2000:]}")
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError), self.client() as client:
            return bool(client.ping())
        return False
