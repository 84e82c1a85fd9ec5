"""Our own resources: their status, and which of them exist.

Comes in: kind, namespace, name, status document. Goes out: API calls on group workerpool.dev.
"""

from workerpool_operator.api.meta import GROUP, PLURALS, VERSION, Kind
from workerpool_operator.cluster.client import Document, KubeClient

_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


def _path(kind: Kind, namespace: str | None) -> str:
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{scope}/{PLURALS[kind]}"


async def patch_status(client: KubeClient, kind: Kind, namespace: str, name: str, status: Document) -> Document:
    """Merge `status` into the object's status subresource.

    Raises:
        ApiError: not found, or refused.
    """
    return await client.merge_patch(f"{_path(kind, namespace)}/{name}/status", {"status": status})


async def list_uids(client: KubeClient, kind: Kind, namespace: str | None) -> set[str]:
    """The uids of all objects of a kind, out of the API server's cache and without their bodies.

    Raises:
        ApiError: refused.
    """
    listing = await client.get(f"{_path(kind, namespace)}?resourceVersion=0", accept=_METADATA_ONLY)
    return {item["metadata"]["uid"] for item in listing.get("items") or ()}
