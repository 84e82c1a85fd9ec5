"""`python -m tests.demo`: run the demo; `python -m tests.demo down`: remove all that it made.

In: arguments. Out: the timeline on standard output, progress on standard error, exit status 0 only when every job
was done and every pool went back to zero.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.cluster import ClusterError, down, find
from tests.demo.jobs import workloads
from tests.demo.report import picture, summary
from tests.demo.stage import CLUSTER, NAMESPACE, OPERATOR_NAMESPACE, ROOT, Stage, say
from tests.demo.timeline import heading, watch

_LIMIT_SECONDS = 600.0


def main() -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("run", "down"), default="run")
    parser.add_argument(
        "--picture", type=Path, default=ROOT / "build" / "demo.svg", help="where to draw the picture of the run"
    )
    options = parser.parse_args()
    try:
        return _down() if options.command == "down" else _run(options.picture)
    except ClusterError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ndemo: interrupted; `make demo-down` removes what it made", file=sys.stderr)
        return 130


def _run(picture_path: Path) -> int:
    begun = time.monotonic()
    stage = Stage.set_up()
    say(f"ready after {time.monotonic() - begun:.0f} s; enqueueing")
    works = workloads()
    expected = {work.pool: len(work.jobs) for work in works}
    print(heading(), flush=True)
    started = time.monotonic()
    with stage.enqueueing(works):
        run = watch(stage, expected, started, _LIMIT_SECONDS, lambda line: print(line, flush=True))
    print()
    print("\n".join(summary(run, expected)))
    picture(run, picture_path)
    print(f"results: /data/out in pod producer, /data/mail in deployment mail; picture: {_short(picture_path)}")
    print(f"look around: kubectl --kubeconfig {stage.cluster.kubeconfig} -n {NAMESPACE} get workerpools")
    if run.zero_at is None:
        print(f"demo: not all was done and back at zero within {_LIMIT_SECONDS:.0f} s", file=sys.stderr)
        return 1
    return 0


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _down() -> int:
    cluster = find(CLUSTER)
    if cluster is not None and cluster.provider == "current":
        # Somebody else's cluster: take out what is ours, and leave the rest.
        cluster.helm("uninstall", "workerpool-operator", "--namespace", OPERATOR_NAMESPACE, check=False)
        cluster.kubectl(
            *("delete", "--ignore-not-found", "--wait", "--timeout=180s", "-k", str(ROOT / "manifests" / "demo")),
            check=False,
            timeout=200,
        )
        cluster.kubectl("delete", "namespace", "--ignore-not-found", OPERATOR_NAMESPACE, check=False)
        # Deleting a CRD deletes every object of its kind: not while there are pools of somebody else.
        if not cluster.kubectl("get", "workerpools,queuebrokers", "-A", "--output=name", check=False).strip():
            cluster.kubectl("delete", "--ignore-not-found", "-f", str(ROOT / "crds"), check=False)
    else:
        down(CLUSTER)
    say("removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
