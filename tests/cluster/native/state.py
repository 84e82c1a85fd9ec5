"""What a native cluster is on disk: its folder in the cache, the plan for its keeper, and whether it lives.

A name comes in; a folder that its keeper holds locked goes out. Folders whose keeper is gone without having cleaned up
(only `kill -9` does that) are swept away whenever another cluster starts.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from tests.cluster.cache import cache_dir, locked
from tests.cluster.commands import tail
from tests.cluster.errors import ClusterError
from tests.cluster.native import keeper
from tests.cluster.native.network import Slot
from tests.cluster.poll import until

STOP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Program:
    """One program of a cluster; it is started once `after`, a TCP address, accepts connections."""

    name: str
    argv: list[str]
    after: str | None = None
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the keeper does: commands outside and inside of the namespaces, programs, commands after the end."""

    cgroup: str
    outside: list[list[str]]
    inside: list[list[str]]
    programs: list[Program]
    afterwards: list[list[str]]


def home() -> Path:
    """Returns the folder of all clusters' folders."""
    return cache_dir() / "clusters"


class State:
    """One cluster's folder."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = home() / name
        self.kubeconfig = self.folder / "kubeconfig"
        self.facts = self.folder / "cluster.json"

    def create(self) -> TextIO:
        """Makes the folder and locks it: it counts as alive while anyone holds what is returned."""
        with locked("clusters"):
            sweep()
            if self.folder.exists():
                raise ClusterError(f"there is a cluster {self.name} already: `python -m tests.cluster down`")
            (self.folder / "logs").mkdir(parents=True)
            alive = (self.folder / "alive").open("w")
            fcntl.flock(alive, fcntl.LOCK_EX)
            return alive

    def keep(self, plan: Plan, alive: TextIO, slot: Slot, *, attached: bool) -> None:
        """Starts the keeper, which inherits the locks; `attached` ties it to the life of this process."""
        path = self.folder / "plan.json"
        path.write_text(json.dumps(asdict(plan)))
        fds = [alive.fileno(), slot.lock.fileno()]
        words = [sys.executable, keeper.__file__, "outer", str(path)]
        if attached:
            fds.append(os.pidfd_open(os.getpid()))
            words.append(str(fds[-1]))
        with (self.folder / "logs" / "keeper.log").open("wb") as log:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=fds,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            )
        if attached:
            os.close(fds[-1])
        process.returncode = 0  # it may outlive this process: whether it lives is told by its start time
        identity = {"pid": process.pid, "started": start_time(process.pid)}
        (self.folder / "keeper.json").write_text(json.dumps(identity))
        alive.close()
        slot.lock.close()

    def check(self) -> None:
        """Raises an error with the last words of the logs when the keeper gave up."""
        if (self.folder / keeper.FAILED).exists() or not self.keeper_pid():
            raise ClusterError(f"cluster {self.name} does not start: {self.last_words()}")

    def last_words(self) -> str:
        """Returns why the keeper gave up and the ends of all logs."""
        why = tail(self.folder / keeper.FAILED)
        logs = sorted((self.folder / "logs").glob("*.log"))
        return "\n".join([why, *(f"--- {log.stem}\n{tail(log, 8)}" for log in logs)])

    def keeper_pid(self) -> int | None:
        """Returns the keeper's pid if that very process is running."""
        try:
            known = json.loads((self.folder / "keeper.json").read_text())
        except FileNotFoundError:
            return None
        pid = int(known["pid"])
        return pid if start_time(pid) == known["started"] else None

    def stop(self) -> None:
        """Ends the cluster and removes every trace of it; returns when that is done."""
        pid = self.keeper_pid()
        if pid:
            started = start_time(pid)
            os.kill(pid, signal.SIGTERM)
            # The folder goes before the keeper does, so the folder cannot be asked.
            until(
                lambda: start_time(pid) != started,
                f"the end of cluster {self.name}",
                timeout=STOP_SECONDS,
                interval=0.02,
            )
            with contextlib.suppress(ChildProcessError):  # another process started it
                os.waitpid(pid, os.WNOHANG)
        with locked("clusters"):
            sweep()


def sweep() -> None:
    """Removes what clusters left behind whose keepers were killed. The caller holds the lock `clusters`."""
    for alive in home().glob("*/alive"):
        try:
            with alive.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(alive.parent)
        except (BlockingIOError, FileNotFoundError):  # it lives, or its keeper is just removing it
            continue


def _remove(folder: Path) -> None:
    try:
        plan = json.loads((folder / "plan.json").read_text())
    except (FileNotFoundError, ValueError):  # killed before there was anything to remove
        plan = {"cgroup": None, "afterwards": []}
    for argv in plan["afterwards"]:
        subprocess.run(argv, check=False, capture_output=True)
    if plan["cgroup"]:
        keeper.remove_cgroups(plan["cgroup"])
    shutil.rmtree(folder, ignore_errors=True)


def start_time(pid: int) -> str | None:
    """Returns when a process started, in the kernel's ticks; None if it ended. With the pid it names it for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]
