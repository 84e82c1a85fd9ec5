"""The scale subresource of anything that has one.

Comes in: a target's kind and name. Goes out: its `Scale`, read or written. Kinds are turned into paths by the API
server's own discovery, which is asked once for each kind.
"""

import re
from dataclasses import dataclass

from workerpool_operator.cluster.client import ApiError, Document, KubeClient

# Known without asking; any other kind is discovered.
_BUILT_IN = {
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "StatefulSet"): "statefulsets",
    ("apps/v1", "ReplicaSet"): "replicasets",
}

NOT_SCALABLE = "NotScalable"
"""Reason of an ApiError: what the target names can have no scale at all."""

# Anything else would lead to another path, and so past the namespace.
_GROUP_VERSION = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?v[a-z0-9]+")
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?")


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
            ApiError: not found, refused, or (NOT_SCALABLE) the kind has no scale.
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
        if not _GROUP_VERSION.fullmatch(target.api_version):
            raise ApiError(404, NOT_SCALABLE, f"{target.api_version!r} is no apiVersion; write one such as apps/v1")
        if not _NAME.fullmatch(target.name):
            raise ApiError(404, NOT_SCALABLE, f"{target.name!r} is no name of an object; correct scaleTargetRef.name")
        kind = (target.api_version, target.kind)
        if kind not in self._plurals:
            self._plurals[kind] = await self._discover(target)
        base = _group_path(target.api_version)
        return f"{base}/namespaces/{target.namespace}/{self._plurals[kind]}/{target.name}/scale"

    async def _discover(self, target: TargetKey) -> str:
        try:
            resources = (await self._client.get(_group_path(target.api_version))).get("resources", [])
        except ApiError as error:
            if error.not_found:
                message = f"the cluster has no apiVersion {target.api_version}; correct scaleTargetRef, or add its CRD"
                raise ApiError(404, NOT_SCALABLE, message) from None
            raise
        names = {resource["name"] for resource in resources}
        for resource in resources:
            if resource["kind"] == target.kind and f"{resource['name']}/scale" in names:
                return str(resource["name"])
        raise ApiError(
            404,
            NOT_SCALABLE,
            f"kind {target.kind} of {target.api_version} does not exist or has no scale subresource; "
            "name a Deployment or another kind that has one",
        )


def _group_path(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _scale(document: Document) -> Scale:
    try:
        metadata = document["metadata"]
        replicas = document.get("spec", {}).get("replicas", 0)
        observed = document.get("status", {}).get("replicas", 0)
        return Scale(metadata["uid"], replicas, observed, int(metadata["resourceVersion"]))
    except (KeyError, ValueError) as error:
        raise ApiError(0, "Malformed", f"the API server's answer is no Scale: {error!r}") from None
