"""The scale subresource of anything that has one.

Comes in: a target's kind and name. Goes out: its `Scale`, read or written. Kinds are turned into paths by the API
server's own discovery, which is asked once for each kind.
"""

from dataclasses import dataclass

from workerpool_operator.cluster.client import ApiError, Document, KubeClient

# Known without asking; any other kind is discovered.
_BUILT_IN = {
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "StatefulSet"): "statefulsets",
    ("apps/v1", "ReplicaSet"): "replicasets",
}


@dataclass(frozen=True, slots=True)
class TargetKey:
    """What a WorkerPool scales."""

    namespace: str
    api_version: str
    kind: str
    name: str

    def __str__(self) -> str:
        """Kind and name, for messages."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Scale:
    """A target's scale.

    Attributes:
        uid: of the target: another one under the same name has another.
        replicas: that its spec asks for.
        observed: replicas that exist, as its status says.
        resource_version: orders what was read and what was watched.
    """

    uid: str
    replicas: int
    observed: int
    resource_version: int


class ScaleClient:
    """Reads and writes scales."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._plurals: dict[tuple[str, str], str] = dict(_BUILT_IN)

    async def read(self, target: TargetKey) -> Scale:
        """The target's scale.

        Raises:
            ApiError: not found, refused, or the kind has no scale.
        """
        return _scale(await self._client.get(await self._path(target)))

    async def write(self, target: TargetKey, replicas: int) -> Scale:
        """Set the target's replicas.

        Raises:
            ApiError: not found, or refused.
        """
        body = {"spec": {"replicas": replicas}}
        return _scale(await self._client.merge_patch(await self._path(target), body))

    async def _path(self, target: TargetKey) -> str:
        kind = (target.api_version, target.kind)
        if kind not in self._plurals:
            self._plurals[kind] = await self._discover(target)
        base = _group_path(target.api_version)
        return f"{base}/namespaces/{target.namespace}/{self._plurals[kind]}/{target.name}/scale"

    async def _discover(self, target: TargetKey) -> str:
        resources = (await self._client.get(_group_path(target.api_version))).get("resources", [])
        names = {resource["name"] for resource in resources}
        for resource in resources:
            if resource["kind"] == target.kind and f"{resource['name']}/scale" in names:
                return str(resource["name"])
        raise ApiError(404, "NoScale", f"kind {target.kind} of {target.api_version} has no scale subresource")


def _group_path(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _scale(document: Document) -> Scale:
    metadata = document["metadata"]
    replicas = document.get("spec", {}).get("replicas", 0)
    observed = document.get("status", {}).get("replicas", 0)
    return Scale(metadata["uid"], replicas, observed, int(metadata["resourceVersion"]))
