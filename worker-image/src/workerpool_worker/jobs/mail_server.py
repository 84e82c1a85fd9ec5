"""Hands one message to a mail server, to all its recipients or to none.

In: an encoded message with its envelope. Out: it is accepted, or a JobError. What the server refuses for good
(5xx on the mail itself) is permanent; what a person or time can mend (4xx, connection, TLS, login) is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

import aiosmtplib

from workerpool_worker.errors import ConfigError, JobError, PermanentError, TemporaryError

_IMPLICIT_TLS_PORT, _SUBMISSION_PORT = 465, 587
_PERMANENT = 500


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails go.

    Attributes:
        url: smtp:// or smtps://, perhaps with a login.
        password: Gives the password of now; None: the URL's.
        tls: STARTTLS on smtp://: where offered and no login without, always, or never.
        timeout_seconds: For each answer.
        sender: Address of mails that name none.
    """

    url: str
    password: Callable[[], str | None]
    tls: Literal["auto", "required", "off"]
    timeout_seconds: float
    sender: str | None

    async def send(self, message: bytes, sender: str, recipients: Sequence[str], *, utf8: bool) -> None:
        """Deliver ``message``.

        Raises:
            PermanentError: The server refuses it for good; nobody got it.
            TemporaryError: It may be sent later. After a connection lost at the very end it may have been
                accepted all the same.
        """
        client = await self._connect()
        try:
            await self._transact(client, message, sender, recipients, utf8=utf8)
        except aiosmtplib.SMTPException as error:
            raise _meaning("the mail server", error) from error
        except OSError as error:
            raise TemporaryError(f"the mail server: {error}") from error
        finally:
            client.close()

    async def _connect(self) -> aiosmtplib.SMTP:
        parts = urlsplit(self.url)
        implicit = parts.scheme == "smtps"
        client = aiosmtplib.SMTP(
            hostname=parts.hostname,
            port=parts.port or (_IMPLICIT_TLS_PORT if implicit else _SUBMISSION_PORT),
            use_tls=implicit,
            start_tls={"auto": None, "required": True, "off": False}[self.tls],
            timeout=self.timeout_seconds,
        )
        try:
            await client.connect()
            await self._log_in(client, unquote(parts.username or ""), unquote(parts.password or ""))
        except (aiosmtplib.SMTPException, OSError, ConfigError) as error:
            client.close()
            raise TemporaryError(f"mail server {parts.hostname}: {_short(error)}") from error
        except BaseException:
            client.close()
            raise
        return client

    async def _log_in(self, client: aiosmtplib.SMTP, user: str, password_of_url: str) -> None:
        if not user:
            return
        encrypted = client.get_transport_info("sslcontext") is not None
        if not encrypted and self.tls != "off":
            raise ConfigError(
                "it offers no TLS, and a password is not sent in the clear: use smtps://, or WORKER_SMTP_TLS=off "
                "where the network is trusted"
            )
        await client.login(user, self.password() or password_of_url)

    async def _transact(
        self, client: aiosmtplib.SMTP, message: bytes, sender: str, recipients: Sequence[str], *, utf8: bool
    ) -> None:
        options = []
        if utf8:
            if not client.supports_extension("SMTPUTF8"):
                raise PermanentError("an address has letters beyond ASCII, and the mail server takes none (SMTPUTF8)")
            options = ["SMTPUTF8"]
        encoding = "utf-8" if utf8 else "ascii"
        await client.mail(sender, options=options, encoding=encoding)
        for recipient in recipients:
            # Each refusal ends the mail before any recipient gets it: retried or mended, none gets it twice.
            try:
                await client.rcpt(recipient, encoding=encoding)
            except aiosmtplib.SMTPResponseException as error:
                raise _meaning(f"recipient {recipient} (nothing was sent to the others)", error) from error
        await client.data(message)


def _meaning(what: str, error: aiosmtplib.SMTPException) -> JobError:
    code = error.code if isinstance(error, aiosmtplib.SMTPResponseException) else 0
    kind = PermanentError if code >= _PERMANENT else TemporaryError
    return kind(f"{what}: {_short(error)}")


def _short(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {error.message}"[:500]
    return (str(error) or type(error).__name__)[:500]
