"""What all kinds of jobs share: the fields, the context they run in, the paths.

In: validated JSON. Out: ``perform`` that does the work or raises a JobError.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from workerpool_worker.jobs.mail_server import MailServer
from workerpool_worker.storage import Storage

FilePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Field(description="a file relative to the storage's root, with slashes"),
]


@dataclass(frozen=True, slots=True)
class Limits:
    """What untrusted media may take.

    Attributes:
        pixels: Pixels of an image or a frame.
        memory_bytes: Address space of a program.
        output_bytes: Size of a file it writes.
        threads: Threads of a program.
    """

    pixels: int
    memory_bytes: int
    output_bytes: int
    threads: int


@dataclass(frozen=True, slots=True)
class Context:
    """What a job has at hand besides its own fields.

    Attributes:
        job_id: The job's id, the same at each attempt.
        storage: Where inputs and outputs are.
        limits: What media programs may take.
        mail_server: Where mails go; None when none is configured.
        max_attachment_bytes: Size of a mail's attachments together at most.
    """

    job_id: str
    storage: Storage
    limits: Limits
    mail_server: MailServer | None
    max_attachment_bytes: int


class Job(BaseModel):
    """One job; its subclasses have a literal ``kind``."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=True, hide_input_in_errors=True
    )

    id: str | None = Field(None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    kind: str

    @abstractmethod
    async def perform(self, context: Context) -> None:
        """Do the work; safe to do again. Ends its programs when it is cancelled.

        Raises:
            PermanentError: It cannot be done.
            TemporaryError: It may be done later.
        """


def extension(name: str) -> str:
    """The file name's extension in small letters, without the dot."""
    return PurePosixPath(name).suffix.lower().removeprefix(".")


def same_file(one: str, other: str) -> bool:
    """Whether two names are the same path, written alike or not."""
    return PurePosixPath(one) == PurePosixPath(other)
