"""A mail server that delivers nothing: each mail that comes in on port 1025 becomes a file in a folder.

The folder is the only argument. A file appears under its `.eml` name when it is complete, so it may be read at once.
"""

import asyncio
import signal
import sys
import time
from itertools import count
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

PORT = 1025


class Folder:
    """An aiosmtpd handler that stores mails."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.numbers = count(1)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802
        """Stores one mail, with its envelope in headers of its own on top; the names are aiosmtpd's."""
        recipients = ", ".join(envelope.rcpt_tos)
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {recipients}\r\n"
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        path = self.folder / f"{time.time_ns()}-{next(self.numbers)}.eml"
        half_written = path.with_suffix(".new")
        half_written.write_bytes(head.encode() + content)
        half_written.rename(path)
        return "250 stored"


async def serve(folder: Path) -> None:
    """Serves until SIGTERM."""
    loop = asyncio.get_running_loop()
    handler = Folder(folder)
    server = await loop.create_server(lambda: SMTP(handler, hostname="mail", enable_SMTPUTF8=True), port=PORT)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(f"listening on {PORT}", flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
