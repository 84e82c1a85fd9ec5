"""Keeps one native cluster: starts its programs in namespaces of their own and ends all of them together.

A plan (JSON, see state.py) comes in; logs and, on trouble, a `failed` file go out. Run as a script with the
standard library only, because its inner half is process 1 of the cluster's process namespace: whatever
becomes of everybody else, the kernel ends every program, mount and network device of a cluster with that process.

    owner (test, demo) <-watches- keeper (outer) -pipe-> unshare -> keeper (inner, process 1) -> etcd, kubelet, ...

The outer half ends the cluster when it is told to (SIGTERM), or when its owner is gone, even by `kill -9`.
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FAILED = "failed"
CGROUPS = Path("/sys/fs/cgroup")
CGROUP_PATIENCE_SECONDS = 5.0
INNER_PATIENCE_SECONDS = 10.0
NAMESPACES = ("--fork", "--kill-child=KILL", "--pid", "--mount-proc", "--mount", "--propagation=private", "--net")


def keep(plan_path: Path, owner: int | None) -> None:
    """Outer half: runs the cluster until SIGTERM or the end of its owner, then removes every trace of it.

    Args:
        plan_path: the plan, in the cluster's state folder.
        owner: a pidfd of the process to which the cluster belongs; None for one that stays.
    """
    plan = json.loads(plan_path.read_text())
    told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(tell)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    inner = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, sys.executable, __file__, "inner", str(plan_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        _begin(plan, plan_path.parent, inner)
        select.select([told] if owner is None else [told, owner], [], [])
    finally:
        _end(plan, plan_path.parent, inner)


def _begin(plan: dict[str, Any], state: Path, inner: "subprocess.Popen[bytes]") -> None:
    assert inner.stdin
    assert inner.stdout
    inner.stdout.readline()  # the namespaces are there, or the pipe was closed
    for argv in plan["outside"]:
        if not _done([word.replace("{pid}", str(inner.pid)) for word in argv], state):
            return
    try:
        inner.stdin.write(b"go\n")
        inner.stdin.flush()
    except BrokenPipeError:
        _fail(state, "the cluster's namespaces could not be made")


def _end(plan: dict[str, Any], state: Path, inner: "subprocess.Popen[bytes]") -> None:
    assert inner.stdin
    inner.stdin.close()  # process 1 ends on that, and `unshare` once the kernel has ended all the others
    try:
        inner.wait(INNER_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        inner.kill()
        inner.wait()
    for argv in plan["afterwards"]:
        subprocess.run(argv, check=False, capture_output=True)
    remove_cgroups(plan["cgroup"])
    shutil.rmtree(state, ignore_errors=True)


def remove_cgroups(name: str) -> None:
    """Removes the cluster's cgroups in every hierarchy; its processes are ending or have ended."""
    deadline = time.monotonic() + CGROUP_PATIENCE_SECONDS
    for top in [*CGROUPS.glob(f"*/{name}"), CGROUPS / name]:
        while top.is_dir():
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:  # busy for a moment more, until the kernel has buried its last process
                    break
            if time.monotonic() > deadline:
                break
            time.sleep(0.02 if top.is_dir() else 0)


def work(plan_path: Path) -> None:
    """Inner half, process 1 of the namespaces: prepares them, starts the programs and buries the dead.

    Returns when the outer half lets go of its pipe, or when a program ended that should not.
    """
    plan, state = json.loads(plan_path.read_text()), plan_path.parent
    print("namespaces", flush=True)
    if sys.stdin.readline() != "go\n":
        return
    if not all(_done(argv, state) for argv in plan["inside"]):
        return
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only a caught signal wakes the wait below
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake)
    waiting, running = list(plan["programs"]), dict[int, str]()
    while True:
        while waiting and _reachable(waiting[0]["after"]):
            program = waiting.pop(0)
            running[_start(program, state)] = program["name"]
        ended = _bury(running)
        if ended:
            _fail(state, ended)
            return
        readable, _, _ = select.select([sys.stdin, woken], [], [], 0.02 if waiting else None)
        if sys.stdin in readable:
            return
        if woken in readable:
            os.read(woken, 4096)


def _start(program: dict[str, Any], state: Path) -> int:
    with (state / "logs" / f"{program['name']}.log").open("ab") as log:
        process = subprocess.Popen(
            program["argv"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | program["env"],
            start_new_session=True,
        )
    process.returncode = 0  # it is buried below with all the others, not by subprocess
    return process.pid


def _bury(running: dict[int, str]) -> str | None:
    """Reaps all that have ended, orphans of containers too; returns a sentence if one was a program of ours."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if not pid:
            return None
        if pid in running:
            return f"{running[pid]} ended with {os.waitstatus_to_exitcode(status)}"


def _reachable(address: str | None) -> bool:
    if address is None:
        return True
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _done(argv: list[str], state: Path) -> bool:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        _fail(state, f"{' '.join(argv)}: {done.stdout}{done.stderr}")
    return not done.returncode


def _fail(state: Path, why: str) -> None:
    half_written = state / f"{FAILED}.new"
    half_written.write_text(why)
    half_written.rename(state / FAILED)


if __name__ == "__main__":
    if sys.argv[1] == "inner":
        work(Path(sys.argv[2]))
    else:
        keep(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
