"""A running cluster as tests and the demo see it, whoever runs it.

Commands for kubectl and helm and images to be built come in; their output goes out, and images that pods can run.
"""

import os
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tests.cluster.commands import run, with_path
from tests.cluster.tools import on_path_or_built

Provider = Literal["native", "kind", "current"]


class Cluster(ABC):
    """A cluster that answers. `runs_pods` says whether there is a node; without one, pods stay pending.

    Attributes:
        name: its name among the clusters of this machine.
        provider: who runs it.
        kubeconfig: credentials of an administrator, readable without any other file.
        runs_pods: whether pods run, Services route and names resolve.
        server: the URL of its API server, as seen from this process.
    """

    provider: Provider

    def __init__(self, name: str, kubeconfig: Path, server: str, *, runs_pods: bool) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self.server = server
        self.runs_pods = runs_pods

    def env(self) -> dict[str, str]:
        """Returns this process's environment with KUBECONFIG, and with kubectl and helm on PATH."""
        return with_path(self._kubectl().parent, on_path_or_built("helm").parent, base=self._environment())

    def kubectl(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002 - the name that subprocess gave it
        check: bool = True,
        timeout: float = 60,
    ) -> str:
        """Runs kubectl against this cluster and returns what it printed.

        Raises:
            ClusterError: it took longer than `timeout` seconds, or (with `check`) failed.
        """
        return run(self._kubectl(), *args, input=input, check=check, timeout=timeout, env=self._environment())

    def helm(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002 - the name that subprocess gave it
        check: bool = True,
        timeout: float = 300,
    ) -> str:
        """Runs helm against this cluster and returns what it printed; errors as for `kubectl`."""
        helm = on_path_or_built("helm")
        return run(helm, *args, input=input, check=check, timeout=timeout, env=self._environment())

    def wait(self, resource: str, condition: str, *, namespace: str = "default", timeout: float = 120) -> None:
        """Waits until a resource exists and meets a condition.

        Args:
            resource: say `pod/a`.
            condition: what `kubectl wait --for` takes, say `condition=Ready`.
            namespace: where the resource is.
            timeout: seconds.
        """
        deadline = time.monotonic() + timeout
        for awaited in ("create", condition):
            left = max(1, int(deadline - time.monotonic()))
            words = ("wait", "--namespace", namespace, f"--for={awaited}", f"--timeout={left}s", resource)
            self.kubectl(*words, timeout=left + 10)

    @abstractmethod
    def build_image(self, tag: str, dockerfile: Path, context: Path) -> str:
        """Builds an image, unless one of the same content was built before, and gives it to the nodes.

        Args:
            tag: name and version, say `workerpool-operator:test`. Pods that use it need `imagePullPolicy`
                `IfNotPresent` or `Never`.
            dockerfile: may copy from `context` only.
            context: a folder; its `.dockerignore` is heeded.

        Returns:
            The name under which pods of this cluster find the image: `tag`, unless a registry stands between.
        """

    def _environment(self) -> dict[str, str]:
        """Returns this process's environment with KUBECONFIG; no proxy stands before the API server."""
        direct = [word for word in (os.environ.get("NO_PROXY"), urlsplit(self.server).hostname) if word]
        both_spellings = dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(direct))
        return os.environ | both_spellings | {"KUBECONFIG": str(self.kubeconfig)}

    def _kubectl(self) -> Path:
        return on_path_or_built("kubectl")
