"""Running programs: quick ones whose output is wanted, and long ones that must show that they live.

A command comes in, its output goes out; a failure is a ClusterError that carries what the program said.
Programs do not outlive this process where the system can see to that.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError

HEARTBEAT_SECONDS = 15
TAIL_LINES = 40


def say(line: str) -> None:
    """Writes one progress line to stderr."""
    print(f"cluster: {line}", file=sys.stderr, flush=True)


def mortal(argv: Sequence[str]) -> list[str]:
    """Returns `argv` such that the program is terminated when this process dies, on systems that can."""
    if setpriv := shutil.which("setpriv"):
        return [setpriv, "--pdeathsig", "TERM", "--", *argv]
    return list(argv)


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """Returns the last lines of a log file, or says that there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def run(
    *argv: str | Path,
    input: str | None = None,  # noqa: A002 - the name that subprocess gave it
    check: bool = True,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Runs a quick program and returns what it wrote to stdout.

    Raises:
        ClusterError: it is not there, took longer than `timeout` seconds, or (with `check`) failed.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=input, capture_output=True, text=True, check=False, timeout=timeout, env=env, cwd=cwd
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed: run `bash tests/setup.sh packages`") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(words)} took longer than {timeout:g} s") from error
    if check and done.returncode:
        raise ClusterError(f"{' '.join(words)} failed with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def run_long(
    argv: Sequence[str | Path],
    what: str,
    *,
    expected_seconds: int,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Runs a program that takes long, with a line every 15 s; its output is shown only when it fails.

    Raises:
        ClusterError: it is not there, or failed; the end of its output is in the message.
    """
    words = [str(word) for word in argv]
    say(f"{what}: about {expected_seconds} s")
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="workerpool-", suffix=".log") as log:
        try:
            process = subprocess.Popen(
                mortal(words), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, cwd=cwd
            )
        except FileNotFoundError as error:
            raise ClusterError(f"{words[0]} is not installed: run `bash tests/setup.sh packages`") from error
        try:
            while not _ended(process):
                say(f"{what}: {time.monotonic() - began:.0f} s so far")
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if process.returncode:
            raise ClusterError(f"{what} failed with {process.returncode}:\n{tail(Path(log.name))}")
    say(f"{what}: done in {time.monotonic() - began:.0f} s")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(HEARTBEAT_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def with_path(*folders: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns an environment in which the programs of `folders` are found first."""
    env = dict(os.environ if base is None else base)
    env["PATH"] = os.pathsep.join([*map(str, folders), env.get("PATH", os.defpath)])
    return env
