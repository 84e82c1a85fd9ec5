"""The worker's HTTP server: /metrics, /healthz, /readyz.

In: GET requests from Prometheus and the kubelet. Out: metrics; 200 while the process works at all; 200 or 503
by whether it takes jobs.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web

from workerpool_worker.errors import BrokerError, ConfigError
from workerpool_worker.metrics import Metrics

_SIZE_SECONDS = 1.0


class Observed(Protocol):
    """What the server shows of the worker."""

    def not_ready_because(self) -> str | None:
        """Why the worker takes no jobs now; None when it does."""

    async def queue_size(self) -> int | None:
        """Waiting jobs, where that is cheap to know."""


@asynccontextmanager
async def serving(host: str | None, port: int, worker: Observed, metrics: Metrics) -> AsyncIterator[None]:
    """Serve while the context is open.

    Raises:
        ConfigError: The port cannot be had.
    """

    async def show_metrics(_: web.Request) -> web.Response:
        metrics.show_queue_size(await _size(worker))
        metrics.connected.set(worker.not_ready_because() is None)
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reason = worker.not_ready_because()
        if reason is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready", "reason": reason}, status=503)

    application = web.Application()
    application.add_routes(
        [web.get("/metrics", show_metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(
                f"port {port} cannot be listened on: {error.strerror}: mend WORKER_LISTEN or --listen"
            ) from error
        yield
    finally:
        await runner.cleanup()


async def _size(worker: Observed) -> float:
    try:
        async with asyncio.timeout(_SIZE_SECONDS):
            size = await worker.queue_size()
    except (BrokerError, TimeoutError):
        return math.nan
    return math.nan if size is None else size
