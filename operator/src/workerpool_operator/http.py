"""The operator's HTTP server: /metrics, /healthz, /readyz.

Comes in: the engine and its metrics. Goes out: plain text. /healthz fails when no tick was finished for a while,
/readyz until every resource has been seen once; a standby is ready too.
"""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from workerpool_operator.engine import Engine
from workerpool_operator.metrics import Metrics

# A read may take its timeout and its backoff, twice.
_OLDEST_TICK_SECONDS = 15.0


@contextlib.asynccontextmanager
async def serving(engine: Engine, metrics: Metrics, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the context is open; gives the port."""

    async def healthz(_: web.Request) -> web.Response:
        age = engine.age()
        return web.Response(status=200 if age < _OLDEST_TICK_SECONDS else 503, text=f"last tick {age:.1f} s ago\n")

    async def readyz(_: web.Request) -> web.Response:
        text = "ready\n" if engine.synced else "waiting for the resources to be listed\n"
        return web.Response(status=200 if engine.synced else 503, text=text)

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", exposition)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host or None, port)
        await site.start()
        bound: int = runner.addresses[0][1]
        yield bound
    finally:
        await runner.cleanup()
