"""The cluster that the user named with WORKERPOOL_CLUSTER=current: the current context of the user's kubeconfig.

Images are built by Docker and pushed to the registry that WORKERPOOL_REGISTRY names, from which the nodes pull.
Nothing of it is started or stopped here.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

from tests.cluster import docker
from tests.cluster.cluster import Cluster
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.cluster.tools import on_path_or_built

REGISTRY = "WORKERPOOL_REGISTRY"


class CurrentCluster(Cluster):
    """The user's own cluster; its context is copied, so that a later switch of contexts leads nothing astray."""

    provider = "current"

    def __init__(self) -> None:
        view = run(on_path_or_built("kubectl"), "config", "view", "--raw", "--minify", "--flatten", "-o", "json")
        config = json.loads(view)
        if not config.get("current-context"):
            raise ClusterError("WORKERPOOL_CLUSTER=current, but the kubeconfig has no current context")
        self._folder = tempfile.TemporaryDirectory(prefix="workerpool-kubeconfig-")
        path = Path(self._folder.name) / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(view)
        super().__init__(config["current-context"], path, config["clusters"][0]["cluster"]["server"], runs_pods=True)

    def build_image(self, tag: str, dockerfile: Path, context: Path) -> str:
        """See Cluster; the image is pushed to `$WORKERPOOL_REGISTRY`, and the name there is returned."""
        registry = os.environ.get(REGISTRY)
        if not registry or not shutil.which("docker"):
            raise ClusterError(
                f"the nodes of {self.name} have to pull {tag} from a registry: install Docker and set {REGISTRY} to "
                "a prefix that you may push to and the nodes may pull from, say registry.example.com/team"
            )
        name = f"{registry.rstrip('/')}/{tag}"
        docker.build(name, dockerfile, context)
        docker.push(name)
        return name
