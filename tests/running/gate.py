"""A TCP gate before a server: open, cut (refuses and breaks off), or mute (accepts and says nothing).

In: where the server is. Out: a port on loopback. Real sockets between real programs, so that an outage of one
client's way to a server can be had without ending the server for all others.
"""

import contextlib
import select
import socket
import threading
from typing import Literal, Self

State = Literal["open", "cut", "mute"]


class Gate:
    """Forwards to host and port while open; a context manager."""

    def __init__(self, host: str, port: int, state: State = "open") -> None:
        self._server = (host, port)
        self._state: State = state
        self._pairs: set[tuple[socket.socket, socket.socket | None]] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._break_all()
        self._listener.close()

    def open(self) -> None:
        """Forward new connections."""
        self._state = "open"
        self._break_all()

    def cut(self) -> None:
        """Break off all connections and each new one."""
        self._state = "cut"
        self._break_all()

    def mute(self) -> None:
        """Keep connections, and accept new ones, but forward nothing."""
        self._state = "mute"

    def _break_all(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _close(*pair)

    def _accept(self) -> None:
        while not self._ended:
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                if self._state == "cut":
                    _close(client)
                    continue
                server = socket.create_connection(self._server, 5) if self._state == "open" else None
                with self._lock:
                    self._pairs.add((client, server))
                if server is not None:
                    threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Both ways until either end closes; bytes wait while the gate is mute."""
        with contextlib.suppress(OSError, ValueError):
            while True:
                readable, _, _ = select.select([client, server], [], [], 0.5)
                if self._state == "mute":
                    threading.Event().wait(0.05)
                    continue
                for end in readable:
                    received = end.recv(65536)
                    if not received:
                        raise ConnectionResetError
                    (server if end is client else client).sendall(received)
        with self._lock:
            self._pairs.discard((client, server))
        _close(client, server)


def _close(*ends: socket.socket | None) -> None:
    for end in ends:
        if end is not None:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
