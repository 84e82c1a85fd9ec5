"""Runs one program on untrusted input, within limits.

In: the program with its arguments, an inherited input file, limits. Out: its exit code and output, short. No
shell, no environment of ours (it holds secrets), a process group of its own that is killed whole when the
attempt is cancelled or times out, and dies with the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from workerpool_worker.errors import PermanentError, TemporaryError
from workerpool_worker.jobs.base import Limits

_KEEP_BYTES = 64 * 1024
_CHUNK_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended.

    Attributes:
        code: Exit code; negative: the signal that ended it.
        output: The end of its standard output.
        errors: The end of its standard error.
    """

    code: int
    output: str
    errors: str


async def run_program(argv: Sequence[str], *, limits: Limits, descriptors: Sequence[int] = ()) -> Finished:
    """Run ``argv`` to its end.

    Raises:
        TemporaryError: It cannot be started, or was killed from outside (as by the kernel for want of memory).
        PermanentError: It broke the limit on output size or processor time.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise TemporaryError(f"{argv[0]} is not on the PATH: install it in the image")
    try:
        process = await asyncio.create_subprocess_exec(
            *_dies_with_us(),
            *_limited(limits),
            program,
            *argv[1:],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=tuple(descriptors),
            start_new_session=True,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                "HOME": tempfile.gettempdir(),
                "MALLOC_ARENA_MAX": "2",
            },
        )
    except OSError as error:
        raise TemporaryError(f"{argv[0]} cannot be started: {error.strerror}") from error
    ended = False
    try:
        assert process.stdout is not None  # noqa: S101 - they are pipes
        assert process.stderr is not None  # noqa: S101
        output, errors, code = await asyncio.gather(_tail(process.stdout), _tail(process.stderr), process.wait())
        ended = True
    finally:
        if not ended:
            # The program may have ended and left children that hold its output open: the group is still there.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code == -signal.SIGKILL:
        raise TemporaryError(f"{argv[0]} was killed, most likely for want of memory in the container")
    if code == -signal.SIGXFSZ:
        raise PermanentError(f"the output grew over {limits.output_bytes} bytes (WORKER_MAX_OUTPUT_BYTES)")
    return Finished(code, output, errors)


async def _tail(stream: asyncio.StreamReader) -> str:
    kept = b""
    while chunk := await stream.read(_CHUNK_BYTES):
        kept = (kept + chunk)[-_KEEP_BYTES:]
    return kept.decode(errors="replace")


def _limited(limits: Limits) -> tuple[str, ...]:
    """What to start programs with so that the limits hold from their first instruction on.

    Raises:
        TemporaryError: There is no prlimit (util-linux).
    """
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        raise TemporaryError("prlimit is not on the PATH: install util-linux in the image")
    memory, output = limits.memory_bytes, limits.output_bytes
    return (prlimit, f"--as={memory}:{memory}", f"--fsize={output}:{output}", "--core=0:0", "--")


@cache
def _dies_with_us() -> tuple[str, ...]:
    """What to start programs with so that a killed worker leaves none behind; nothing where it is missing."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
