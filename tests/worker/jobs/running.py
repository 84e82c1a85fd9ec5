"""Performs jobs on a storage folder without a queue."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from workerpool_worker.jobs.base import Context, Limits
from workerpool_worker.jobs.mail_server import MailServer
from workerpool_worker.jobs.registry import parse_job
from workerpool_worker.storage import DirectoryStorage

LIMITS = Limits(pixels=1_000_000, memory_bytes=2**32, output_bytes=50_000_000, threads=1)


@dataclass(frozen=True)
class Performer:
    storage: Path
    limits: Limits = LIMITS
    mail_server: MailServer | None = None
    max_attachment_bytes: int = 1_000_000
    fields: dict[str, object] = field(default_factory=dict)

    async def __call__(self, **fields: object) -> None:
        fields = {name: value for name, value in {**self.fields, **fields}.items() if value is not None}
        if "from_" in fields:
            fields["from"] = fields.pop("from_")
        job = parse_job(json.dumps(fields).encode(), max_bytes=10_000_000)
        context = Context(
            job_id=job.id or "job-1",
            storage=DirectoryStorage(self.storage, stale_seconds=60),
            limits=self.limits,
            mail_server=self.mail_server,
            max_attachment_bytes=self.max_attachment_bytes,
        )
        await job.perform(context)


def names_in(folder: Path) -> list[str]:
    """All names in a folder, hidden ones included, in order."""
    return sorted(path.name for path in folder.iterdir())
