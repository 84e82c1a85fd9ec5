"""The chart as tests see it: where it is, and what Helm makes of it.

Values come in as YAML text, a file, or nothing; parsed Kubernetes objects go out. Helm is the user's own or
the one that tests.cluster builds. A refused rendering is a ChartError that carries Helm's words.
"""

import functools
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.tools import on_path_or_built

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "workerpool-operator"
MAXIMAL = Path(__file__).with_name("maximal-values.yaml")
RELEASE = "scaler"
NAMESPACE = "operations"
KUBERNETES = "1.34.0"

Object = dict[str, Any]


class ChartError(RuntimeError):
    """Helm refused; the message is what it said."""


@functools.cache
def helm_program() -> Path:
    """Returns the helm binary."""
    return on_path_or_built("helm")


def helm(*words: str | Path, stdin: str | None = None) -> str:
    """Runs helm without a cluster and returns what it wrote to stdout."""
    done = subprocess.run(
        [str(helm_program()), *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise ChartError(done.stdout + done.stderr)
    return done.stdout


def render(values: str | Path = "", *, release: str = RELEASE) -> list[Object]:
    """Returns the objects of a rendered release, hooks included. `values` is YAML text or a file of it."""
    words: list[str | Path] = [
        "template",
        release,
        CHART,
        "--namespace",
        NAMESPACE,
        "--kube-version",
        KUBERNETES,
    ]
    text = helm(*words, "-f", values) if isinstance(values, Path) else helm(*words, "-f", "-", stdin=values)
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Returns the objects of one kind, in the order of rendering."""
    return [item for item in objects if item["kind"] == kind]


def only(objects: list[Object], kind: str) -> Object:
    """Returns the one object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def containers(pod_spec: Object) -> list[Object]:
    """Returns all containers of a pod, init containers first."""
    return [*pod_spec.get("initContainers", []), *pod_spec["containers"]]


def assert_restricted(pod_spec: Object) -> None:
    """Asserts the PodSecurity level "restricted", and a read-only root besides."""
    pod = pod_spec.get("securityContext", {})
    for container in containers(pod_spec):
        own = container.get("securityContext", {})
        merged = pod | own
        assert merged["runAsNonRoot"] is True, container["name"]
        assert merged["runAsUser"] > 0, container["name"]
        assert merged["seccompProfile"] == {"type": "RuntimeDefault"}, container["name"]
        assert own["allowPrivilegeEscalation"] is False, container["name"]
        assert own["readOnlyRootFilesystem"] is True, container["name"]
        assert own["capabilities"] == {"drop": ["ALL"]}, container["name"]
    assert not any(pod_spec.get(host) for host in ("hostNetwork", "hostPID", "hostIPC"))
    assert all(set(volume) & {"hostPath"} == set() for volume in pod_spec.get("volumes", []))
