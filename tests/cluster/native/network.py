"""Addresses for native clusters that run side by side, each in a network namespace of its own.

Nothing comes in but the machine's routes; a slot goes out: a /22 that nobody else uses, and the commands that lay a
pair of virtual cables between the machine and the namespace. Slots come from the range that is set aside for
benchmarks (RFC 2544), which no local network and no internet address uses.
"""

import fcntl
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import TextIO

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError

RANGE = IPv4Network("198.18.0.0/15")
LOCKS = Path("/run/lock")


@dataclass(frozen=True, slots=True)
class Slot:
    """One cluster's share of the range; `lock` is held open by whoever keeps the cluster."""

    number: int
    lock: TextIO

    @property
    def whole(self) -> IPv4Network:
        """All of the slot's addresses."""
        return _network(self.number)

    @property
    def pods(self) -> IPv4Network:
        """The addresses of pods, a /24."""
        return self._quarter(0)

    @property
    def services(self) -> IPv4Network:
        """The addresses of Services, a /24."""
        return self._quarter(1)

    @property
    def dns(self) -> str:
        """The address of the cluster's DNS Service."""
        return str(self.services[10])

    @property
    def api_service(self) -> str:
        """The address of the Service `kubernetes`."""
        return str(self.services[1])

    @property
    def machine(self) -> str:
        """The machine's end of the cable."""
        return str(self._quarter(2)[1])

    @property
    def node(self) -> str:
        """The node's end of the cable: where the API server listens."""
        return str(self._quarter(2)[2])

    @property
    def device(self) -> str:
        """The cable's name on the machine."""
        return f"workerpool{self.number}"

    def _quarter(self, index: int) -> IPv4Network:
        return list(self.whole.subnets(new_prefix=24))[index]

    def outside(self) -> list[list[str]]:
        """Commands for the machine's side; `{pid}` is a process of the namespace."""
        return [
            _words(f"ip link add {self.device} type veth peer name eth0 netns {{pid}}"),
            _words(f"ip address add {self.machine}/24 dev {self.device}"),
            _words(f"ip link set {self.device} up"),
            _words(f"ip route add {self.pods} via {self.node} dev {self.device} src {self.machine}"),
            _words(f"ip route add {self.services} via {self.node} dev {self.device} src {self.machine}"),
        ]

    def inside(self) -> list[list[str]]:
        """Commands for the namespace's side."""
        return [
            _words("ip link set lo up"),
            _words(f"ip address add {self.node}/24 dev eth0"),
            _words("ip link set eth0 up"),
            _words(f"ip route add default via {self.machine}"),
            ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"],
        ]

    def afterwards(self) -> list[list[str]]:
        """Commands that remove what the end of the namespace may not have removed yet."""
        return [_words(f"ip link delete {self.device}")]


def take_slot() -> Slot:
    """Returns a free slot; it is free again when the last holder of its lock is gone.

    Raises:
        ClusterError: all are taken.
    """
    occupied = list(_routes())
    for number in range(2 ** (22 - RANGE.prefixlen)):
        if any(_network(number).overlaps(network) for network in occupied):
            continue
        lock = (LOCKS / f"workerpool-cluster-{number}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return Slot(number, lock)
    raise ClusterError(f"no /22 of {RANGE} is free for another cluster: see `ip route`")


def _network(number: int) -> IPv4Network:
    return IPv4Network((int(RANGE.network_address) + number * 2**10, 22))


def _routes() -> Iterator[IPv4Network]:
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all") or "[]"):
        if route["dst"] != "default":
            yield ipaddress.IPv4Network(route["dst"], strict=False)


def _words(line: str) -> list[str]:
    return line.split()
