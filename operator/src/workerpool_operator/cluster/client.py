"""One HTTP client to the API server, on the official client's connection, credentials and token refresh.

Comes in: method, path, document. Goes out: the answer's document, or `ApiError`. The generated model classes are
left out on purpose: turning every answer into them costs more CPU than all else that the operator does.
"""

import json
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio import client, config

Document = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
_JSON = "application/json"
_TIMEOUT_SECONDS = 10


class ApiError(Exception):
    """The API server refused a call, or could not be reached.

    Attributes:
        status: HTTP status; 0 when there was no answer.
        reason: the API's reason, such as NotFound; Unreachable without an answer.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        """Whether the object does not exist."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def forbidden(self) -> bool:
        """Whether we may not do that."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed in a while."""
        return self.status in (0, HTTPStatus.TOO_MANY_REQUESTS) or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def conflict(self) -> bool:
        """Whether the object changed meanwhile, or exists already."""
        return self.status == HTTPStatus.CONFLICT


class NoClusterError(Exception):
    """There is no API server to talk to; the message tells the mend."""


class KubeClient:
    """Calls to the API server. Use it as an async context manager."""

    def __init__(self) -> None:
        self._api: client.ApiClient | None = None

    async def __aenter__(self) -> Self:
        """Connect as the pod's service account, or as the kubeconfig says.

        Raises:
            NoClusterError: there is neither.
        """
        configuration = client.Configuration()
        # kopf looks in the same order, so that both talk to the same API server.
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            try:
                await config.load_kube_config(client_configuration=configuration)
            except config.ConfigException as error:
                message = f"run it in a pod with a service account, or point KUBECONFIG at a cluster: {error}"
                raise NoClusterError(message) from None
        configuration.connection_pool_maxsize = 64
        # A failed write is tried again by the next decision; retries below it would only pile up.
        configuration.retries = None
        self._api = client.ApiClient(configuration)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._api is not None:
            await self._api.close()

    async def get(self, path: str, *, accept: str = _JSON) -> Document:
        """GET a document."""
        return await self._call("GET", path, accept=accept)

    async def post(self, path: str, body: Document) -> Document:
        """Create a document."""
        return await self._call("POST", path, body)

    async def put(self, path: str, body: Document) -> Document:
        """Replace a document."""
        return await self._call("PUT", path, body)

    async def merge_patch(self, path: str, body: Document) -> Document:
        """Change parts of a document (RFC 7386)."""
        return await self._call("PATCH", path, body, content_type=MERGE_PATCH)

    async def _call(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Document:
        if self._api is None:
            raise RuntimeError("KubeClient is used outside of its context")
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": "workerpool-operator"}
        url = self._api.configuration.host + path
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            answer = await self._api.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=_TIMEOUT_SECONDS
            )
            text = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ApiError(0, "Unreachable", f"the API server did not answer: {type(error).__name__}") from error
        document = _parse(text)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            message = document.get("message") or f"HTTP {answer.status}"
            raise ApiError(answer.status, document.get("reason") or "Failed", message)
        return document


def _parse(text: bytes) -> Document:
    """A JSON object; {} for what is none, such as a proxy's error page."""
    try:
        document = json.loads(text) if text else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
