"""The status of our own resources, and which objects of any kind exist.

Comes in: kind, namespace, name, status document. Goes out: API calls.
"""

from workerpool_operator.api.meta import GROUP, PLURALS, VERSION, Kind
from workerpool_operator.cluster.client import ApiError, Document, KubeClient

_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


def resource_of(kind: Kind) -> tuple[str, str]:
    """API version and plural of one of our kinds."""
    return f"{GROUP}/{VERSION}", PLURALS[kind]


async def patch_status(client: KubeClient, kind: Kind, namespace: str, name: str, status: Document) -> Document:
    """Merge `status` into the object's status subresource.

    Raises:
        ApiError: not found, or refused.
    """
    return await client.merge_patch(
        f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURALS[kind]}/{name}/status", {"status": status}
    )


async def is_served(client: KubeClient) -> bool:
    """Whether the CRDs are there.

    Raises:
        ApiError: refused.
    """
    try:
        resources = (await client.get(f"/apis/{GROUP}/{VERSION}")).get("resources", [])
    except ApiError as error:
        if error.not_found:
            return False
        raise
    return set(PLURALS.values()) <= {resource["name"] for resource in resources}


async def list_uids(client: KubeClient, resource: tuple[str, str], namespace: str | None) -> set[str]:
    """The uids of all objects of a resource, out of the API server's cache and without their bodies.

    Args:
        client: to ask with.
        resource: API version and plural, as ("apps/v1", "deployments").
        namespace: None for all.

    Raises:
        ApiError: refused.
    """
    version, plural = resource
    scope = f"/namespaces/{namespace}" if namespace else ""
    listing = await client.get(f"/apis/{version}{scope}/{plural}?resourceVersion=0", accept=_METADATA_ONLY)
    return {item["metadata"]["uid"] for item in listing.get("items") or ()}
