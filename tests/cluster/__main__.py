"""Clusters from the command line: `python -m tests.cluster up --name demo --pods`, and down, kubeconfig, tools, doctor.

Words come in; what a script would read (a path) goes to stdout, what a person would (progress, errors) to stderr.
"""

import argparse
import os
import sys
from pathlib import Path

from tests.cluster import choice
from tests.cluster.cluster import Cluster
from tests.cluster.commands import say
from tests.cluster.doctor import missing_for_native
from tests.cluster.errors import ClusterError
from tests.cluster.tools import GROUPS, tools


def main() -> int:
    """Runs one command; returns the exit code."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(arguments))
    except ClusterError as error:
        say(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="Kubernetes clusters for development")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start a cluster that stays, or find it running; prints its kubeconfig's path")
    up.add_argument("--pods", action="store_true", help="with a node that runs pods")
    up.set_defaults(run=_up)
    down = commands.add_parser("down", help="remove all of a cluster")
    down.set_defaults(run=_down)
    kubeconfig = commands.add_parser("kubeconfig", help="print the path of a running cluster's kubeconfig")
    kubeconfig.set_defaults(run=_kubeconfig)
    for command in (up, down, kubeconfig):
        command.add_argument("--name", required=True, help="lower case letters, digits and dashes")
    build = commands.add_parser("tools", help="build the programs that clusters are made of, into the cache")
    build.add_argument("names", nargs="*", metavar="TOOL", help="only these")
    build.set_defaults(run=_tools)
    doctor = commands.add_parser("doctor", help="say what clusters can run here, and what is missing")
    doctor.set_defaults(run=_doctor)
    return parser


def _up(arguments: argparse.Namespace) -> int:
    print(_lasting_path(choice.up(arguments.name, pods=arguments.pods)))
    return 0


def _down(arguments: argparse.Namespace) -> int:
    choice.down(arguments.name)
    return 0


def _kubeconfig(arguments: argparse.Namespace) -> int:
    cluster = choice.find(arguments.name)
    if not cluster:
        raise ClusterError(f"no cluster {arguments.name} runs: `python -m tests.cluster up --name {arguments.name}`")
    print(_lasting_path(cluster))
    return 0


def _lasting_path(cluster: Cluster) -> str:
    """Returns a kubeconfig that is there after this process: of the user's own, no copy of ours is left behind."""
    if cluster.provider == "current":
        return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return str(cluster.kubeconfig)


def _tools(arguments: argparse.Namespace) -> int:
    known = [name for group in GROUPS.values() for name in group.packages]
    if unknown := set(arguments.names) - set(known):
        raise ClusterError(f"no such tools: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name, path in tools(*(arguments.names or known)).items():
        print(f"{name}\t{path}")
    return 0


def _doctor(_: argparse.Namespace) -> int:
    print(f"Docker engine: {'answers, so kind is used' if choice.docker_answers() else 'none that answers'}")
    missing = missing_for_native()
    print(f"native cluster: {'missing ' + ', '.join(missing) if missing else 'nothing is missing'}")
    print(f"clusters run by: {choice.chosen()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
