"""Every setting of the worker, once: its name, default, bounds and meaning.

In: environment variables (``WORKER_`` + the name in capitals) and flags (``--name-with-dashes``), which win.
Out: a frozen ``Settings``, or a ConfigError that names what to mend. Passwords have no flag: the command line
of a process is public on its host.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from workerpool_worker.errors import ConfigError

ENV_PREFIX = "WORKER_"
REDIS_SCHEMES = ("redis", "rediss", "unix")
AMQP_SCHEMES = ("amqp", "amqps")
MIB = 1024 * 1024
_LAST_PORT = 65_535

_ENV_ONLY = ("broker_password", "smtp_password")
# Kubernetes sets these for a Service whose name begins with "worker".
_SERVICE_ENV = re.compile(r"_SERVICE_(HOST|PORT)|_PORT($|_)")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """The worker's settings; see ``--help``."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True, extra="forbid"
    )

    broker_url: SecretStr = Field(
        description="where the jobs are: redis://, rediss://, unix:// (Redis) or amqp://, amqps:// (RabbitMQ)"
    )
    broker_password: SecretStr | None = Field(None, description="the broker's password, instead of in the URL")
    broker_password_file: Path | None = Field(
        None, description="a file with the broker's password, read at each connection"
    )
    queue: str = Field(min_length=1, max_length=200, description="the Redis list's key or the RabbitMQ queue's name")
    queue_declare: bool = Field(
        True, description="create a missing RabbitMQ queue, durable; an existing one is taken as it is"
    )
    concurrency: int = Field(1, ge=1, le=1000, description="jobs at a time; RabbitMQ's prefetch is the same")
    id: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=200,
        description="this worker's name in metrics, logs and dead letters; the host's name by default",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=1_000_000,
        description="attempts at a job, deaths of its worker included, before it is a dead letter",
    )
    retry_interval: Seconds = Field(5, le=604_800, description="seconds from a failure to the second attempt")
    retry_backoff: Literal["exponential", "fixed"] = Field(
        "exponential", description="whether the interval doubles with each attempt (exponential) or stays (fixed)"
    )
    retry_max_interval: Seconds = Field(3600, le=604_800, description="seconds that the interval grows to at most")
    job_timeout: Seconds = Field(1800, description="seconds that one attempt may take")
    lease: Seconds = Field(
        60, ge=0.5, description="seconds after which a killed worker's job comes back (Redis); renewed while it runs"
    )
    drain_timeout: Seconds | None = Field(
        None,
        description="seconds after SIGTERM until unfinished jobs are given back; as long as they take by default",
    )
    storage_dir: Path = Field(Path("/data"), description="the folder that inputs and outputs are relative to")
    max_payload_bytes: int = Field(MIB, ge=1024, description="size of a job's JSON at most")
    max_pixels: int = Field(100_000_000, ge=1, description="pixels of an image or a video frame at most")
    max_memory_bytes: int = Field(
        4096 * MIB, ge=256 * MIB, description="address space of a program that reads media at most"
    )
    max_output_bytes: int = Field(10_240 * MIB, ge=1024, description="size of an output file at most")
    threads: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 16),
        ge=1,
        le=64,
        description="threads of a program that reads media; the CPUs of the host, 16 at most, by default",
    )
    smtp_url: SecretStr | None = Field(
        None, description="the mail server: smtp://user@host:587 or smtps://user@host:465"
    )
    smtp_password: SecretStr | None = Field(None, description="the mail server's password, instead of in the URL")
    smtp_password_file: Path | None = Field(
        None, description="a file with the mail server's password, read at each mail"
    )
    smtp_tls: Literal["auto", "required", "off"] = Field(
        "auto",
        description="STARTTLS on smtp://: where the server offers it, and no login without it (auto), always, or never",
    )
    smtp_timeout: Seconds = Field(30, description="seconds that the mail server may take for an answer")
    smtp_from: str | None = Field(None, description="the sender of mails that name none")
    max_attachment_bytes: int = Field(25 * MIB, ge=0, description="size of a mail's attachments together at most")
    listen: str = Field(":9100", description="host:port of /metrics, /healthz and /readyz; no host: all addresses")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, url: SecretStr) -> SecretStr:
        parts = _split(url.get_secret_value())
        known = REDIS_SCHEMES + AMQP_SCHEMES
        if parts.scheme not in known:
            raise ValueError(f"begin it with one of {', '.join(f'{scheme}://' for scheme in known)}")
        if parts.scheme != "unix" and not parts.hostname:
            raise ValueError("name the host: redis://host:6379/0 or amqp://host:5672/vhost")
        return url

    @field_validator("smtp_url")
    @classmethod
    def _known_mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            parts = _split(url.get_secret_value())
            if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
                raise ValueError("write it as smtp://user@host:587 or smtps://user@host:465")
        return url

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        _, separator, port = listen.rpartition(":")
        if not separator or not port.isdecimal() or int(port) > _LAST_PORT:
            raise ValueError("write it as host:port or :port")
        return listen

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @property
    def is_redis(self) -> bool:
        """Whether the broker is Redis (else it is RabbitMQ)."""
        return _split(self.broker_url.get_secret_value()).scheme in REDIS_SCHEMES

    @property
    def listen_host(self) -> str | None:
        """The address to listen on; None for all."""
        return self.listen.rpartition(":")[0].strip("[]") or None

    @property
    def listen_port(self) -> int:
        """The port to listen on."""
        return int(self.listen.rpartition(":")[2])


def add_flags(parser: argparse.ArgumentParser, names: Iterable[str] | None = None) -> None:
    """Give ``parser`` a flag for each setting (or the named ones), with its variable and default in the help."""
    chosen = list(names or Settings.model_fields)
    group = parser.add_argument_group("settings (flag or environment variable)")
    for name in chosen:
        if name not in _ENV_ONLY:
            group.add_argument(flag(name), dest=name, metavar="VALUE", default=None, help=_help(name))
    only = [f"  {ENV_PREFIX}{name.upper()}: {_text(name)}" for name in chosen if name in _ENV_ONLY]
    parser.epilog = "\n".join(["settings that are environment variables only:", *only])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def load(arguments: Mapping[str, Any]) -> Settings:
    """Read the settings from parsed flags and the environment.

    Raises:
        ConfigError: A value is missing or wrong.
    """
    given = {name: arguments[name] for name in Settings.model_fields if arguments.get(name) is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError("; ".join(_complaint(line["loc"], line["msg"]) for line in error.errors())) from None


def unknown_variables() -> list[str]:
    """Environment variables that look like settings and are none: most likely misspelt."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.startswith(ENV_PREFIX) and name not in known and not _SERVICE_ENV.search(name)
    )


def flag(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def _complaint(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else ""
    variable = f"{ENV_PREFIX}{name.upper()}"
    if message == "Field required":
        return f"{name} is missing: set {variable} or {flag(name)}"
    way = variable if name in _ENV_ONLY else f"{variable} or {flag(name)}"
    return f"{name}: {message.removeprefix('Value error, ')} ({way})"


def _help(name: str) -> str:
    return f"{_text(name)} [{ENV_PREFIX}{name.upper()}]".replace("%", "%%")


def _text(name: str) -> str:
    field = Settings.model_fields[name]
    if field.is_required():
        return f"{field.description} (required)"
    return f"{field.description}" + (
        "" if field.default_factory or field.default is None else f" (default: {field.default})"
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    return parts
