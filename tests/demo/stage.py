"""Sets the stage: a cluster, images, the operator by Helm, brokers, pools, inputs.

In: what the machine has cached from before. Out: a `Stage` on which jobs can be enqueued and counted.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster import Cluster, up
from tests.cluster.context import context_digest
from tests.demo.jobs import MAKE_INPUTS, PoolName, Workload

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "workerpool-demo"
OPERATOR_NAMESPACE = "workerpool-system"
CLUSTER = "demo"

_IMAGES = {
    "workerpool-operator:dev": (ROOT / "operator" / "Dockerfile", ROOT),
    "workerpool-worker:dev": (ROOT / "worker-image" / "Dockerfile", ROOT),
    "workerpool-demo-services:dev": (
        ROOT / "tests" / "cluster" / "images" / "services" / "Dockerfile",
        ROOT / "tests" / "cluster" / "images" / "services",
    ),
}


def say(text: str) -> None:
    """One line of progress, at once."""
    print(f"demo: {text}", file=sys.stderr, flush=True)


class Stage:
    """A cluster with everything installed."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @classmethod
    def set_up(cls) -> "Stage":
        """Bring everything up, or find it up.

        Raises:
            tests.cluster.ClusterError: the machine cannot have a cluster, or a step failed; the message says what.
        """
        say("a cluster that runs pods")
        return cls.on(up(CLUSTER, pods=True))

    @classmethod
    def on(cls, cluster: Cluster) -> "Stage":
        """Install everything on a cluster that runs pods; errors as for `set_up`."""
        names = {}
        for tag, (dockerfile, context) in _IMAGES.items():
            say(f"image {tag}")
            names[tag] = cluster.build_image(tag, dockerfile, context)
        stage = cls(cluster)
        stage._install(names)
        stage._make_inputs()
        return stage

    def _install(self, names: dict[str, str]) -> None:
        say("the operator, by helm")
        repository, _, tag = names["workerpool-operator:dev"].rpartition(":")
        self.cluster.helm(
            *("upgrade", "--install", "workerpool-operator", str(ROOT / "charts" / "workerpool-operator")),
            *("--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"),
            *("--set", f"image.repository={repository}", "--set", f"image.tag={tag}"),
            # An image of the same name may have been built anew since.
            *("--set-string", f"podAnnotations.content={context_digest(*_IMAGES['workerpool-operator:dev'])}"),
            timeout=330,
        )
        say("brokers, workers and three WorkerPools, by kubectl")
        manifests = self.cluster.kubectl("kustomize", str(ROOT / "manifests" / "demo"))
        for built, name in names.items():
            manifests = manifests.replace(f"image: {built}", f"image: {name}")
        self.cluster.kubectl("apply", "-f", "-", input=manifests, timeout=120)
        for resource, condition in (
            ("pod/producer", "condition=Ready"),
            ("deployment/redis", "condition=Available"),
            ("deployment/rabbitmq", "condition=Available"),
            ("deployment/mail", "condition=Available"),
        ):
            self.cluster.wait(resource, condition, namespace=NAMESPACE, timeout=300)
        # Without a backlog a pool goes to zero: that is where the demo begins.
        for pool in ("video", "image", "email"):
            self.cluster.wait(f"workerpool/{pool}", "condition=Ready", namespace=NAMESPACE, timeout=120)
            self.cluster.wait(
                f"deployment/{pool}-worker", "jsonpath={.spec.replicas}=0", namespace=NAMESPACE, timeout=120
            )

    def _make_inputs(self) -> None:
        say("a video and pictures, made by FFmpeg")
        self.exec("pod/producer", "sh", "-c", MAKE_INPUTS, timeout=120)
        self.exec("deployment/mail", "sh", "-c", "rm -f /data/mail/*.eml")

    def exec(self, where: str, *command: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run a command in a pod; what it printed."""
        interactive = ("--stdin",) if stdin is not None else ()
        return self.cluster.kubectl(
            "exec", *interactive, "--namespace", NAMESPACE, where, "--", *command, input=stdin, timeout=timeout
        )

    @contextmanager
    def enqueueing(self, works: Iterable[Workload]) -> Iterator[None]:
        """Put all jobs into their queues, side by side and while the block runs, as producers would.

        Raises:
            tests.cluster.ClusterError: at the end of the block, when a producer failed.
        """
        works = tuple(works)
        with ThreadPoolExecutor(len(works)) as producers:
            pending = [producers.submit(self._enqueue, work) for work in works]
            yield
            for producer in pending:
                producer.result()

    def _enqueue(self, work: Workload) -> None:
        command = f'WORKER_BROKER_URL="${work.broker_url}" workerpool-worker enqueue --queue {work.pool}'
        self.exec("pod/producer", "sh", "-c", command, stdin="\n".join(work.jobs) + "\n", timeout=180)

    def results(self) -> dict[PoolName, int]:
        """How many results there are of each pool: files and mails."""
        count = "for d in video image; do ls /data/out/$d 2>/dev/null | wc -l; done"
        videos, images = (int(line) for line in self.exec("pod/producer", "sh", "-c", count).split())
        mails = int(self.exec("deployment/mail", "sh", "-c", "ls /data/mail | grep -c 'eml$' || true"))
        return {"video": videos, "image": images, "email": mails}

    def get(self, what: str, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
        """Objects of a kind."""
        listing = json.loads(self.cluster.kubectl("get", what, "--namespace", namespace, "--output=json"))
        items: list[dict[str, Any]] = listing["items"]
        return items

    def metrics(self) -> str:
        """The metrics of the replica that leads; empty while none does."""
        for pod in self.get("pods", OPERATOR_NAMESPACE):
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{name}:8080/proxy/metrics"
            text = self.cluster.kubectl("get", "--raw", path, check=False)
            if "workerpool_leading 1.0" in text:
                return text
        return ""
