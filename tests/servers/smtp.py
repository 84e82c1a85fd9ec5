"""A real SMTP server for tests, in a thread of the test process, on a free loopback port.

In: rules for refusing mail and for logins. Out: the mails received, parsed. It speaks the protocol over a
socket as any mail server does; only the mailbox is a list.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
from collections import deque
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.process import free_port


@dataclass(frozen=True, slots=True)
class Mail:
    """One received mail: the envelope of the SMTP dialogue and the parsed message."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    raw: bytes


class SMTPServer:
    """A mail server that records; a context manager.

    Attributes:
        mails: What was accepted, oldest first.
        attempts: How many times a client came to the end of a mail, accepted or not.
    """

    def __init__(self) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        self.mails: list[Mail] = []
        self.attempts = 0
        self._answers: deque[str] = deque()
        self._always: str | None = None
        self._refused: dict[str, str] = {}
        self._login: tuple[str, str] | None = None
        self._controller: Any = None
        self._open = threading.Event()
        self._open.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server's address as a URL, without credentials."""
        return f"smtp://{self.host}:{self.port}"

    def start(self) -> None:
        """Listen (again)."""
        if self._controller is None:
            self._controller = _Controller(self)
            self._controller.start()

    def stop(self) -> None:
        """Stop listening."""
        self.let_go()
        if self._controller is not None:
            self._controller.stop(no_assert=True)
            self._controller = None

    def reset(self) -> None:
        """Make it as new: listening, empty, accepting everything."""
        self.mails.clear()
        self.attempts = 0
        self._answers.clear()
        self._always, self._login = None, None
        self._refused.clear()
        self.let_go()
        self.start()

    def answer_next(self, *answers: str) -> None:
        """Give these answers ("451 try later") to the next mails, one each, instead of accepting them."""
        self._answers.extend(answers)

    def answer_always(self, answer: str | None) -> None:
        """Give this answer to every mail; None accepts again."""
        self._always = answer

    def hold(self) -> None:
        """Leave mails without an answer: their senders are in the middle of their work."""
        self._open.clear()

    def let_go(self) -> None:
        """Answer again, the mails that are held included."""
        self._open.set()

    def refuse_recipient(self, address: str, answer: str = "550 no such user") -> None:
        """Refuse one recipient in the dialogue."""
        self._refused[address] = answer

    def require_login(self, username: str, password: str) -> None:
        """Accept mail only after this login."""
        self._login = (username, password)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd finds its hooks by these names
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self._refused:
            return self._refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.attempts += 1
        await asyncio.to_thread(self._open.wait)
        answer = self._answers.popleft() if self._answers else self._always
        if answer is not None:
            return answer
        raw = envelope.original_content or b""
        message = email.message_from_bytes(raw, policy=email.policy.default)
        self.mails.append(Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), message, raw))
        return "250 OK"

    def connection(self) -> SMTP:
        """The protocol object of one connection, by the rules of now."""
        return SMTP(
            self,
            enable_SMTPUTF8=True,
            hostname="mail.test",
            auth_required=self._login is not None,
            auth_require_tls=False,
            authenticator=self._authenticate,
        )

    def _authenticate(self, *dialogue: object) -> AuthResult:
        given = dialogue[-1]
        if not isinstance(given, LoginPassword) or self._login is None:
            return AuthResult(success=False, handled=False)
        # "handled" would mean that the answer to the client was already given.
        right = (given.login.decode(), given.password.decode()) == self._login
        return AuthResult(success=right, handled=right)


class _Controller(Controller):
    def __init__(self, server: SMTPServer) -> None:
        self._server = server
        super().__init__(server, hostname=server.host, port=server.port)

    def factory(self) -> SMTP:
        return self._server.connection()
