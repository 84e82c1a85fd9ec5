"""The command line: ``run`` works until it is told to stop, ``enqueue`` puts jobs into a queue.

In: arguments, environment, for ``enqueue`` also a file or stdin. Out: exit code 0 (drained, enqueued), 1 (the
broker refuses), 2 (a setting or a job is wrong; nothing was done). Settings: ``settings.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workerpool_worker import logs
from workerpool_worker.errors import BrokerError, ConfigError, PermanentError
from workerpool_worker.http import serving
from workerpool_worker.jobs.base import Context, Limits
from workerpool_worker.jobs.email import parse_address
from workerpool_worker.jobs.mail_server import MailServer
from workerpool_worker.jobs.registry import KINDS, parse_job
from workerpool_worker.metrics import Metrics
from workerpool_worker.queues import open_queue
from workerpool_worker.redaction import Redactor, password_source
from workerpool_worker.runner import Bounds, Runner
from workerpool_worker.settings import Settings, add_flags, load, unknown_variables
from workerpool_worker.storage import DirectoryStorage

log = logging.getLogger(__name__)

_STALE_TIMEOUTS = 3
_ENQUEUE_SETTINGS = (
    "broker_url",
    "broker_password",
    "broker_password_file",
    "queue",
    "queue_declare",
    "max_payload_bytes",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_args(arguments)
    redactor = Redactor()
    try:
        settings = load(vars(options))
        _learn_secrets(settings, redactor)
        code: int = options.command(settings, redactor, options)
    except ConfigError as error:
        print(f"workerpool-worker: {redactor(str(error))}", file=sys.stderr)
        return 2
    except BrokerError as error:
        print(f"workerpool-worker: {redactor(str(error))}", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="workerpool-worker", description="Worker for video, image and email jobs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="work until SIGTERM", description="Consume a queue until SIGTERM.")
    add_flags(run)
    run.set_defaults(command=_run)

    enqueue = commands.add_parser(
        "enqueue",
        help="put jobs into a queue",
        description=(
            "Check jobs, put them into a queue and print their ids. Each is a JSON object with a kind "
            f"({', '.join(KINDS)}). They come from the arguments, from --file, or from stdin; one a line there, "
            "or one JSON array. When one is wrong, none is enqueued."
        ),
    )
    enqueue.add_argument("jobs", nargs="*", metavar="JSON", help="a job")
    enqueue.add_argument("--file", type=Path, help="a file of jobs, one a line, or a JSON array")
    add_flags(enqueue, _ENQUEUE_SETTINGS)
    enqueue.set_defaults(command=_enqueue)
    return parser


def _run(settings: Settings, redactor: Redactor, _: argparse.Namespace) -> int:
    logs.configure(settings.log_level, redactor)
    for name in unknown_variables():
        log.warning("environment variable %s is no setting: see workerpool-worker run --help", name)
    asyncio.run(_work(settings, redactor))
    return 0


async def _work(settings: Settings, redactor: Redactor) -> None:
    metrics = Metrics(settings.id, redis=settings.is_redis)
    runner = Runner(
        queue=open_queue(settings, redactor),
        context=_context(settings, redactor),
        bounds=Bounds(
            concurrency=settings.concurrency,
            job_timeout=settings.job_timeout,
            max_attempts=settings.max_attempts,
            max_payload_bytes=settings.max_payload_bytes,
            retry_interval=settings.retry_interval,
            retry_backoff=settings.retry_backoff,
            retry_max_interval=settings.retry_max_interval,
            drain_timeout=settings.drain_timeout,
        ),
        metrics=metrics,
        redactor=redactor,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.drain)
    async with serving(settings.listen_host, settings.listen_port, runner, metrics):
        log.info(
            "working",
            extra={
                "queue": settings.queue,
                "broker": settings.broker_url.get_secret_value(),
                "concurrency": settings.concurrency,
                "worker_id": settings.id,
                "listen": settings.listen,
            },
        )
        await runner.run()


def _context(settings: Settings, redactor: Redactor) -> Context:
    return Context(
        job_id="",
        storage=DirectoryStorage(settings.storage_dir, stale_seconds=settings.job_timeout * _STALE_TIMEOUTS),
        limits=Limits(
            pixels=settings.max_pixels,
            memory_bytes=settings.max_memory_bytes,
            output_bytes=settings.max_output_bytes,
            threads=settings.threads,
        ),
        mail_server=_mail_server(settings, redactor),
        max_attachment_bytes=settings.max_attachment_bytes,
    )


def _mail_server(settings: Settings, redactor: Redactor) -> MailServer | None:
    if settings.smtp_from is not None:
        try:
            parse_address(settings.smtp_from)
        except ValueError as error:
            raise ConfigError(f"smtp_from: {error} (WORKER_SMTP_FROM or --smtp-from)") from None
    if settings.smtp_url is None:
        return None
    inline = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    return MailServer(
        url=settings.smtp_url.get_secret_value(),
        password=password_source(inline, settings.smtp_password_file, redactor),
        tls=settings.smtp_tls,
        timeout_seconds=settings.smtp_timeout,
        sender=settings.smtp_from,
    )


def _enqueue(settings: Settings, redactor: Redactor, options: argparse.Namespace) -> int:
    jobs: list[tuple[str, bytes]] = []
    wrong = 0
    for place, text in _texts(options):
        try:
            jobs.append(_checked(text, settings.max_payload_bytes))
        except PermanentError as error:
            wrong += 1
            print(f"workerpool-worker: {place}: {redactor(str(error))}", file=sys.stderr)
    if wrong:
        print("workerpool-worker: nothing was enqueued", file=sys.stderr)
        return 2
    if not jobs:
        raise ConfigError("no jobs: give them as arguments, with --file, or on stdin")
    asyncio.run(_push(settings, redactor, jobs))
    for job_id, _ in jobs:
        print(job_id)
    return 0


async def _push(settings: Settings, redactor: Redactor, jobs: list[tuple[str, bytes]]) -> None:
    queue = open_queue(settings, redactor)
    try:
        await queue.push(jobs)
    finally:
        await queue.close()


def _texts(options: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    """The jobs' texts, each with where it stands."""
    if options.jobs:
        for number, text in enumerate(options.jobs, 1):
            yield f"argument {number}", text.encode(errors="surrogateescape")
        return
    try:
        content = options.file.read_bytes() if options.file else sys.stdin.buffer.read()
    except OSError as error:
        raise ConfigError(f"{options.file}: {error.strerror}") from error
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        for number, line in enumerate(content.splitlines(), 1):
            if line.strip():
                yield f"line {number}", line
        return
    for number, job in enumerate(document if isinstance(document, list) else [document], 1):
        yield f"job {number}", json.dumps(job, ensure_ascii=False).encode(errors="surrogatepass")


def _checked(text: bytes, max_bytes: int) -> tuple[str, bytes]:
    """A valid job's id and payload; a job without an id gets one.

    Raises:
        PermanentError: It is not a job.
    """
    job = parse_job(text, max_bytes=max_bytes)
    if job.id is not None:
        return job.id, text
    job_id = uuid.uuid4().hex
    return job_id, json.dumps({**json.loads(text), "id": job_id}, ensure_ascii=False).encode()


def _learn_secrets(settings: Settings, redactor: Redactor) -> None:
    for secret in (settings.broker_password, settings.smtp_password):
        if secret is not None:
            redactor.add(secret.get_secret_value())
    for url in (settings.broker_url, settings.smtp_url):
        if url is not None:
            redactor.add(unquote(urlsplit(url.get_secret_value()).password or ""))
