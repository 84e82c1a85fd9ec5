"""Email jobs: one message by SMTP.

In: recipients, subject, bodies, attachments from the storage. Out: the mail server has accepted it for all
recipients. Control characters in anything that becomes a header are refused. The Message-ID follows from the
job's id, so a mail that had to be sent again is recognised as the same.
"""

from __future__ import annotations

import asyncio
import email.policy
import email.utils
import hashlib
import mimetypes
import os
import re
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from workerpool_worker.errors import PermanentError
from workerpool_worker.jobs.base import Context, FilePath, Job

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[^\s@<>,;:\"()\[\]\\]{1,255}")
_NAMED = re.compile(r"\s*(?P<name>.*?)\s*<(?P<address>[^<>]*)>\s*")


def parse_address(text: str) -> Address:
    """Read ``a@b.example`` or ``Name <a@b.example>``.

    Raises:
        ValueError: It is something else.
    """
    named = _NAMED.fullmatch(text)
    name, address = (named["name"].strip('"'), named["address"]) if named else ("", text.strip())
    if not _ADDRESS.fullmatch(address):
        raise ValueError("write one address as name@host.example or Name <name@host.example>")
    user, _, host = address.rpartition("@")
    return Address(display_name=name, username=user, domain=host)


def _is_address(text: str) -> str:
    parse_address(text)
    return text


OneLine = Annotated[
    str,
    StringConstraints(max_length=900, pattern=r"^[^\x00-\x1f\x7f\x85\u2028\u2029]*$"),
    Field(description="no line breaks"),
]
MailAddress = Annotated[OneLine, AfterValidator(_is_address)]


class EmailSend(Job):
    """``email.send``: a mail with a text, an HTML body or both, and attachments."""

    kind: Literal["email.send"] = "email.send"
    to: list[MailAddress] = Field(default=[], max_length=1000)
    cc: list[MailAddress] = Field(default=[], max_length=1000)
    bcc: list[MailAddress] = Field(default=[], max_length=1000)
    sender: MailAddress | None = Field(None, alias="from")
    reply_to: MailAddress | None = Field(None, alias="replyTo")
    subject: OneLine = ""
    text: str | None = None
    html: str | None = None
    attachments: list[FilePath] = Field(default=[], max_length=100)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.to or self.cc or self.bcc):
            raise ValueError("give at least one recipient in to, cc or bcc")
        if self.text is None and self.html is None:
            raise ValueError("give text, html or both")
        return self

    async def perform(self, context: Context) -> None:
        """See Job."""
        server = context.mail_server
        if server is None:
            raise PermanentError("this worker has no mail server: set WORKER_SMTP_URL, then enqueue the job again")
        if self.sender is None and server.sender is None:
            raise PermanentError("no sender: give from in the job, or set WORKER_SMTP_FROM")
        try:
            sender = parse_address(self.sender or server.sender or "")
            recipients = [parse_address(text).addr_spec for text in (*self.to, *self.cc, *self.bcc)]
            utf8 = not all(address.isascii() for address in (sender.addr_spec, *recipients))
            message = self._compose(sender, context.job_id)
            await self._attach(message, context)
            encoded = message.as_bytes(policy=email.policy.SMTPUTF8 if utf8 else email.policy.SMTP)
        except (MessageError, ValueError) as error:
            raise PermanentError(f"the mail cannot be written: {error}") from error
        await server.send(encoded, sender.addr_spec, list(dict.fromkeys(recipients)), utf8=utf8)

    def _compose(self, sender: Address, job_id: str) -> EmailMessage:
        message = EmailMessage()
        message["From"] = sender
        message["Date"] = email.utils.localtime()
        message["Message-ID"] = message_id(job_id, sender.domain)
        message["Subject"] = self.subject
        for header, addresses in (("To", self.to), ("Cc", self.cc)):
            if addresses:
                message[header] = [parse_address(text) for text in addresses]
        if self.reply_to is not None:
            message["Reply-To"] = parse_address(self.reply_to)
        if self.text is not None:
            message.set_content(self.text)
            if self.html is not None:
                message.add_alternative(self.html, subtype="html")
        else:
            message.set_content(self.html or "", subtype="html")
        return message

    async def _attach(self, message: EmailMessage, context: Context) -> None:
        left = context.max_attachment_bytes
        for name in self.attachments:
            async with context.storage.reading(name) as source:
                left -= source.size
                if left < 0:
                    raise PermanentError(
                        f"attachments over {context.max_attachment_bytes} bytes (WORKER_MAX_ATTACHMENT_BYTES)"
                    )
                content = await asyncio.to_thread(os.pread, source.descriptor, source.size, 0)
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            main, _, sub = kind.partition("/")
            message.add_attachment(content, maintype=main, subtype=sub, filename=PurePosixPath(name).name)


def message_id(job_id: str, domain: str) -> str:
    """The Message-ID (RFC 5322) of a job's mail: the same at each attempt, with nothing of the id in it."""
    digest = hashlib.sha256(job_id.encode(errors="surrogatepass")).hexdigest()[:32]
    host = domain if domain.isascii() else domain.encode("idna").decode()
    return f"<{digest}@{host}>"
