"""A real RabbitMQ server for tests: its own node name, ports, data folder and epmd, management plugin on.

In: nothing. Out: an AMQP URL, the management URL, and control: vhosts, users, closing of connections, stop,
kill, freeze, start again with durable data kept. The first start takes seconds: share one over a session.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import signal
import socket
import tempfile
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.servers.process import Program, ServerError, free_port, image_for, wait_until

# Debian's /usr/sbin/rabbitmq-server changes to the service's user and folders; this is the script behind it.
SERVER_SCRIPT = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class RabbitMQServer:
    """One RabbitMQ node; a context manager that starts it and removes everything afterwards."""

    username = "guest"
    password = "guest"

    def __init__(self) -> None:
        self.port = free_port()
        self.management_port = free_port()
        self._epmd_port, self._dist_port = free_port(), free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="workerpool-rabbitmq-"))
        image = image_for(SERVER_SCRIPT)
        address = "127.0.0.1" if image is None else "0.0.0.0"
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {address}:{self.port}\n"
            f"management.tcp.ip = {address}\n"
            f"management.tcp.port = {self.management_port}\n"
            "loopback_users = none\n"
            "log.console = true\nlog.file = false\n"
            "collect_statistics_interval = 1000\n"
        )
        (self._folder / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
        (self._folder / "advanced.config").write_text(
            f'[{{rabbitmq_prometheus, [{{tcp_config, [{{ip, "{address}"}}, {{port, {free_port()}}}]}}]}}].\n'
        )
        # epmd would stay behind as a daemon if the node started it, so it is a program of its own here. In a
        # container it ends with the container.
        self._epmd = (
            Program(["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"], self._folder, [])
            if image is None
            else None
        )
        self._program = Program(
            argv=[SERVER_SCRIPT],
            folder=self._folder,
            ports=[self.port, self.management_port],
            env={
                "ERL_EPMD_PORT": str(self._epmd_port),
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "LANG": "C.UTF-8",
                "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the node instead of waiting beside it
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
                "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced.config"),
                "RABBITMQ_DIST_PORT": str(self._dist_port),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
                "RABBITMQ_LOG_BASE": str(self._folder),
                "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
                "RABBITMQ_NODENAME": f"test-{uuid.uuid4().hex[:8]}@localhost",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput +S 2:2 +sbwt none",
            },
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
        """The AMQP URL of the default vhost."""
        return self.url_of()

    @property
    def management_url(self) -> str:
        """The management API's URL, without credentials."""
        return f"http://127.0.0.1:{self.management_port}"

    def url_of(self, vhost: str = "/", username: str | None = None, password: str | None = None) -> str:
        """The AMQP URL for a vhost and user."""
        login = f"{username or self.username}:{password or self.password}"
        return f"amqp://{login}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def start(self) -> None:
        """Start the node (again) and wait until AMQP and the management API answer."""
        if self._epmd is not None:
            self._epmd.start()
            wait_until(lambda: _accepts(self._epmd_port), seconds=10, what="epmd listens")
        self._program.start()
        wait_until(self._answers, seconds=90, what="RabbitMQ answers", every=0.1)

    def stop(self) -> None:
        """Shut the node down in order; durable queues and persistent messages stay for the next start."""
        self._program.stop(signal.SIGTERM, seconds=40)

    def kill(self) -> None:
        """Kill the node."""
        self._program.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process by SIGSTOP: connections stay open and nothing answers."""
        self._program.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node go on."""
        self._program.send(signal.SIGCONT)

    def add_vhost(self, name: str | None = None) -> str:
        """Create a vhost that the default user may use, and return its name (a unique one by default)."""
        vhost = name or f"test-{uuid.uuid4().hex[:12]}"
        self.api("PUT", f"vhosts/{quote(vhost, safe='')}")
        self._permit(vhost, self.username)
        return vhost

    def remove_vhost(self, name: str) -> None:
        """Delete a vhost with its queues; its connections are closed."""
        self.api("DELETE", f"vhosts/{quote(name, safe='')}")

    def add_user(self, name: str, password: str, vhost: str = "/", tags: str = "") -> None:
        """Create a user, or change its password, with all permissions on one vhost."""
        self.api("PUT", f"users/{quote(name, safe='')}", {"password": password, "tags": tags})
        self._permit(vhost, name)

    def remove_user(self, name: str) -> None:
        """Delete a user."""
        self.api("DELETE", f"users/{quote(name, safe='')}")

    def disconnect_clients(self, vhost: str | None = None) -> int:
        """Close all connections (of one vhost) and return how many there were."""
        found = [c for c in self.api("GET", "connections") if vhost in (None, c.get("vhost"))]
        for connection in found:
            with contextlib.suppress(urllib.error.HTTPError):  # it may have gone by itself
                self.api("DELETE", f"connections/{quote(connection['name'], safe='')}")
        return len(found)

    def queue(self, name: str, vhost: str = "/") -> dict[str, Any]:
        """The management API's live view of one queue.

        Raises:
            urllib.error.HTTPError: 404 when there is no such queue.
        """
        found: dict[str, Any] = self.api("GET", f"queues/{quote(vhost, safe='')}/{quote(name, safe='')}")
        return found

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the management API below /api/ and return the decoded answer, None when it is empty."""
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310 - always http to loopback
            f"{self.management_url}/api/{path}",
            method=method,
            data=None if method in ("GET", "DELETE") else json.dumps(body or {}).encode(),
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else None

    def reset(self) -> None:
        """Make sure that it runs; what tests put into vhosts of their own stays theirs to remove."""
        self.thaw()
        if not self._program.running:
            self.start()

    def close(self) -> None:
        """End the node and its epmd, and remove their folder."""
        self._program.stop(signal.SIGKILL)
        if self._epmd is not None:
            self._epmd.stop(signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _permit(self, vhost: str, user: str) -> None:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.api("PUT", f"permissions/{quote(vhost, safe='')}/{quote(user, safe='')}", everything)

    def _answers(self) -> bool:
        if not self._program.running:
            raise ServerError(f"RabbitMQ ended at start:\n{self._program.log[-3000:]}")
        if not _accepts(self.port):
            return False
        with contextlib.suppress(OSError):
            return bool(self.api("GET", "overview"))
        return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
