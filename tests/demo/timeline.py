"""Watches the pools while they work: one sample about each second, printed as a line when it says something new.

In: a stage on which jobs were enqueued. Out: the samples, when the first pod of each pool was seen, and whether all
was done and back at zero in time.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.demo.jobs import PoolName
from tests.demo.stage import Stage

POOLS: tuple[PoolName, ...] = ("video", "image", "email")
_JOBS = re.compile(
    r'^workerpool_queue_jobs\{namespace="[^"]*",queue="[^"]*",state="(\w+)",workerpool="(\w+)"\} (\S+)', re.MULTILINE
)
_WIDTH = 33


@dataclass(frozen=True, slots=True)
class PoolSample:
    """One pool at one moment: jobs, replicas, and the operator's reason."""

    waiting: int | None
    in_flight: int | None
    desired: int
    running: int
    done: int
    reason: str


@dataclass(slots=True)
class Run:
    """What was watched.

    Attributes:
        times: seconds since the first enqueue, one for each sample.
        samples: by pool.
        first_pod: seconds until the first worker pod of each pool ran.
        done_at: seconds until the last result was there; None if that never was.
        zero_at: seconds until all pools were back at zero.
    """

    times: list[float] = field(default_factory=list)
    samples: dict[PoolName, list[PoolSample]] = field(default_factory=lambda: {pool: [] for pool in POOLS})
    first_pod: dict[PoolName, float] = field(default_factory=dict)
    done_at: float | None = None
    zero_at: float | None = None


def heading() -> str:
    """The two lines above the timeline."""
    columns = " | ".join(f"{pool:<{_WIDTH}}" for pool in POOLS)
    names = " | ".join(f"{'wait':>4} {'work':>4} {'pods':>4} {'done':>4}  {'reason':<13}" for _ in POOLS)
    return f"{'':>6} | {columns}\n{'time':>6} | {names}"


def watch(
    stage: Stage, expected: dict[PoolName, int], started: float, limit: float, tell: Callable[[str], None]
) -> Run:
    """Sample until everything is done and gone, or `limit` seconds have passed since `started` (monotonic)."""
    run = Run()
    told = ""
    while run.zero_at is None and time.monotonic() - started < limit:
        begun = time.monotonic()
        _sample(stage, run, begun - started)
        line = " | ".join(_line(run.samples[pool][-1]) for pool in POOLS)
        if line != told:
            tell(f"{run.times[-1]:>5.1f}s | {line}")
            told = line
        latest = {pool: run.samples[pool][-1] for pool in POOLS}
        if run.done_at is None and all(latest[pool].done >= expected[pool] for pool in POOLS):
            run.done_at = run.times[-1]
        if run.done_at is not None and all(sample.desired == sample.running == 0 for sample in latest.values()):
            run.zero_at = run.times[-1]
        time.sleep(max(0.0, begun + 1.0 - time.monotonic()))
    return run


def _sample(stage: Stage, run: Run, now: float) -> None:
    jobs = {(pool, state): int(float(count)) for state, pool, count in _JOBS.findall(stage.metrics())}
    results = stage.results()
    pools = {item["metadata"]["name"]: item for item in stage.get("workerpools")}
    deployments = {item["metadata"]["name"]: item for item in stage.get("deployments")}
    running = _running(stage.get("pods"))
    run.times.append(now)
    for pool in POOLS:
        if running[pool] and pool not in run.first_pod:
            run.first_pod[pool] = now
        run.samples[pool].append(
            PoolSample(
                waiting=jobs.get((pool, "waiting")),
                in_flight=jobs.get((pool, "in_flight")),
                desired=deployments[f"{pool}-worker"]["spec"]["replicas"],
                running=running[pool],
                done=results[pool],
                reason=pools[pool].get("status", {}).get("reason", ""),
            )
        )


def _running(pods: list[dict[str, Any]]) -> dict[PoolName, int]:
    """Worker pods that run, those that finish their last job included."""
    counts: dict[PoolName, int] = dict.fromkeys(POOLS, 0)
    for pod in pods:
        for pool in POOLS:
            if pod["metadata"]["name"].startswith(f"{pool}-worker-") and pod["status"].get("phase") == "Running":
                counts[pool] += 1
    return counts


def _line(sample: PoolSample) -> str:
    waiting = "?" if sample.waiting is None else sample.waiting
    in_flight = "?" if sample.in_flight is None else sample.in_flight
    pods = f"{sample.running}/{sample.desired}"
    return f"{waiting:>4} {in_flight:>4} {pods:>4} {sample.done:>4}  {sample.reason:<13}"
