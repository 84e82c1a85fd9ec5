"""Programs end with their attempt, with everything that they have started, and never see our secrets."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from pathlib import Path

import pytest

from tests.worker.harness import eventually, is_gone
from tests.worker.jobs.running import LIMITS
from workerpool_worker.errors import TemporaryError
from workerpool_worker.jobs.program import run_program


async def test_output_errors_and_code_come_back() -> None:
    finished = await run_program(["sh", "-c", "echo out; echo err >&2; exit 7"], limits=LIMITS)
    assert (finished.output, finished.errors, finished.code) == ("out\n", "err\n", 7)


async def test_a_timeout_ends_the_program_and_its_children(tmp_path: Path) -> None:
    script = f"sleep 1000 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/parent; sleep 1000"
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await run_program(["sh", "-c", script], limits=LIMITS)
    assert time.monotonic() - began < 5
    for name in ("child", "parent"):
        eventually(partial(is_gone, int((tmp_path / name).read_text())))


async def test_a_child_that_keeps_the_output_open_is_ended_too(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await run_program(["sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/child"], limits=LIMITS)
    eventually(partial(is_gone, int((tmp_path / "child").read_text())))


async def test_much_output_is_cut_and_not_kept() -> None:
    finished = await run_program(["sh", "-c", "yes | head -c 5000000; echo end"], limits=LIMITS)
    assert len(finished.output) <= 65_536
    assert finished.output.endswith("end\n")


async def test_the_environment_holds_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_BROKER_PASSWORD", "hunter2")
    finished = await run_program(["env"], limits=LIMITS)
    assert "hunter2" not in finished.output
    assert f"PATH={os.environ['PATH']}" in finished.output


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(TemporaryError, match="no-such-program"):
        await run_program(["no-such-program"], limits=LIMITS)


async def test_a_program_killed_from_outside_may_be_tried_again() -> None:
    with pytest.raises(TemporaryError, match="memory"):
        await run_program(["sh", "-c", "kill -9 $$"], limits=LIMITS)


async def test_the_memory_limit_holds() -> None:
    finished = await run_program(["sh", "-c", "ulimit -v"], limits=LIMITS)
    assert int(finished.output) * 1024 == LIMITS.memory_bytes
