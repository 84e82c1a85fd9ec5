"""Every setting of the operator, once, each with its environment variable (`WORKERPOOL_` and the name).

Comes in: the environment. Goes out: a frozen `Settings`, or an error that names the variable.
"""

import os
import re
import socket
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")


class Settings(BaseSettings):
    """How this process runs. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix="WORKERPOOL_", frozen=True, extra="ignore")

    namespaces: Annotated[str, NoDecode] = Field(
        default="", description="Comma-separated namespaces to watch; empty: the whole cluster."
    )
    sample_interval_seconds: float = Field(default=1.0, ge=0.1, le=60, description="How often each broker is read.")
    broker_timeout_seconds: float = Field(
        default=2.0, ge=0.1, le=60, description="How long one read of a broker may take, connecting included."
    )
    secret_interval_seconds: float = Field(
        default=3.0, ge=0.5, le=600, description="How often a Secret in use is read again."
    )
    status_interval_seconds: float = Field(
        default=10.0, ge=1, le=600, description="How often a pool's status follows depths alone."
    )
    status_writes_per_second: float = Field(
        default=50.0, gt=0, le=10_000, description="Most status writes a second, over all pools."
    )
    resync_interval_seconds: float = Field(
        default=60.0, ge=1, le=3600, description="How often objects that are gone are looked for."
    )
    http_host: str = Field(default="", description="Address of the HTTP server; empty: all addresses.")
    http_port: int = Field(
        default=8080, ge=0, le=65535, description="Port of /metrics, /healthz and /readyz; 0: any free port."
    )
    in_cluster: bool = Field(
        default_factory=lambda: "KUBERNETES_SERVICE_HOST" in os.environ,
        description="Whether a broker's host without a dot is a Service in the pool's namespace; true in a pod.",
    )
    leader_election: bool = Field(default=True, description="Whether a Lease decides who acts.")
    lease_name: str = Field(default="workerpool-operator", min_length=1, description="Name of the Lease.")
    lease_namespace: str = Field(default="default", min_length=1, description="Namespace of the Lease.")
    identity: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        min_length=1,
        description="Our name in the Lease; unlike that of any other replica.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    log_format: Literal["text", "json"] = Field(default="text", description="How log lines are written.")

    @field_validator("namespaces")
    @classmethod
    def _are_names(cls, namespaces: str) -> str:
        for name in namespaces.split(","):
            if name.strip() and not _NAME.fullmatch(name.strip()):
                raise ValueError(f"{name.strip()!r} is no name of a namespace; patterns are not understood")
        return namespaces

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        """The namespaces to watch; empty for the whole cluster."""
        return tuple(name.strip() for name in self.namespaces.split(",") if name.strip())
