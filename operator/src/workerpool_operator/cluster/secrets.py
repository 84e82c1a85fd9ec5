"""Secret values by key. Nothing is watched or listed: the operator may only get.

Comes in: namespace, name. Goes out: the Secret's values; the caller decides when to read again.
"""

import base64
import binascii

from workerpool_operator.cluster.client import KubeClient


class SecretReader:
    """Reads Secrets."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def read(self, namespace: str, name: str) -> dict[str, str]:
        """All values of a Secret, decoded; what is not UTF-8 text is left out.

        Raises:
            ApiError: not found, or refused.
        """
        document = await self._client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        values: dict[str, str] = {}
        for key, encoded in (document.get("data") or {}).items():
            try:
                values[key] = base64.b64decode(encoded).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue
        return values
