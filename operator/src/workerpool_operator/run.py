"""Runs one replica of the operator until a signal ends it.

Comes in: settings. Goes out: kopf's watches, the engine and the HTTP server, in one event loop.
"""

import asyncio
import contextlib
import logging
import signal
from concurrent.futures import ThreadPoolExecutor

import kopf

from workerpool_operator.cluster import KubeClient
from workerpool_operator.engine import Engine
from workerpool_operator.handlers import REGISTRY
from workerpool_operator.http import serving
from workerpool_operator.metrics import Metrics
from workerpool_operator.settings import Settings

_log = logging.getLogger(__name__)
_RESOLVERS = 32


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then release the lead.

    Raises:
        ExceptionGroup: kopf or the engine failed; the process must end, to be started again.
    """
    # Names are resolved in threads: a few brokers behind a nameserver that hangs must not hold up the others.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolver"))
    metrics = Metrics()
    stop = asyncio.Event()
    _take_signals(stop)
    async with KubeClient() as client:
        engine = Engine(client, settings, metrics)
        async with serving(engine, metrics, settings.http_host, settings.http_port) as port:
            _log.info("serving /metrics, /healthz and /readyz on port %d", port)
            await _until(stop, engine, settings)
    _log.info("stopped")


def _take_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT stop us; to be called again once kopf has put its own handlers in their place."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _until(stop: asyncio.Event, engine: Engine, settings: Settings) -> None:
    stop_kopf, started = asyncio.Event(), asyncio.Event()
    engine_task = asyncio.create_task(engine.run())
    kopf_task = asyncio.create_task(_watch(engine, settings, stop_kopf, started))
    stop_task = asyncio.create_task(stop.wait())
    started_task = asyncio.create_task(started.wait())
    await asyncio.wait({engine_task, kopf_task, stop_task, started_task}, return_when=asyncio.FIRST_COMPLETED)
    _take_signals(stop)
    done, _ = await asyncio.wait({engine_task, kopf_task, stop_task}, return_when=asyncio.FIRST_COMPLETED)
    # The engine goes first: a standby waits for the Lease that it releases.
    engine_task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await engine_task
    stop_kopf.set()
    stop_task.cancel()
    started_task.cancel()
    if not started.is_set():
        kopf_task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await kopf_task
    if stop_task not in done:
        raise RuntimeError("the watches ended by themselves")


async def _watch(engine: Engine, settings: Settings, stop: asyncio.Event, started: asyncio.Event) -> None:
    """The watches of kopf, once there is something to watch."""
    await engine.until_served()
    namespaces = settings.watched_namespaces
    await kopf.operator(
        registry=REGISTRY,
        memo=kopf.Memo(engine=engine),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
        ready_flag=started,
    )
