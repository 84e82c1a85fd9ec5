"""The API server asked directly: a few milliseconds a call, where kubectl takes sixty.

In: a kubeconfig, documents, names. Out: documents as dicts. Calls may come from any thread.
"""

import json
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import urllib3
from kubernetes import client, config

Document = dict[str, Any]
T = TypeVar("T")

_PATHS = {
    "Namespace": ("/api/v1", "namespaces"),
    "Secret": ("/api/v1", "secrets"),
    "Event": ("/api/v1", "events"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "WorkerPool": ("/apis/workerpool.dev/v1alpha1", "workerpools"),
    "QueueBroker": ("/apis/workerpool.dev/v1alpha1", "queuebrokers"),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "ValidatingAdmissionPolicy": ("/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicies"),
    "ValidatingAdmissionPolicyBinding": ("/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings"),
}


class RefusedError(Exception):
    """The API server refused a call; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """One API server, with the rights of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        self._host = configuration.host
        self._headers = _bearer(configuration)
        self._pool = urllib3.PoolManager(
            maxsize=16,
            ca_certs=configuration.ssl_ca_cert,
            cert_file=configuration.cert_file,
            key_file=configuration.key_file,
            retries=False,
            timeout=30,
        )

    def learn(self, kind: str, group_version: str, plural: str) -> None:
        """Know one more kind, such as that of a CRD of a test's own."""
        _PATHS[kind] = (f"/apis/{group_version}", plural)

    def apply(self, *documents: Document) -> None:
        """Create or change objects by server-side apply: fields that are left out go."""
        for document in documents:
            metadata = document["metadata"]
            path = self._path(document["kind"], metadata.get("namespace"), metadata["name"])
            options = urlencode({"fieldManager": "tests", "force": "true", "fieldValidation": "Strict"})
            self._call("PATCH", f"{path}?{options}", document, "application/apply-patch+yaml")

    def patch(self, kind: str, namespace: str | None, name: str, change: Document) -> Document:
        """Change parts of an object (RFC 7386)."""
        return self._call("PATCH", self._path(kind, namespace, name), change, "application/merge-patch+json")

    def get(self, kind: str, namespace: str | None, name: str) -> Document | None:
        """The object; None if there is none."""
        try:
            return self._call("GET", self._path(kind, namespace, name))
        except RefusedError as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, **fields: str) -> list[Document]:
        """All objects of a kind, or those whose fields have these values (`a__b` stands for a.b)."""
        selector = ",".join(f"{field.replace('__', '.')}={value}" for field, value in fields.items())
        path = self._path(kind, namespace) + (f"?{urlencode({'fieldSelector': selector})}" if selector else "")
        items: list[Document] = self._call("GET", path).get("items", [])
        return items

    def delete(self, kind: str, namespace: str | None, name: str) -> None:
        """Delete the object; nothing happens if there is none."""
        try:
            self._call("DELETE", self._path(kind, namespace, name), {"propagationPolicy": "Background"})
        except RefusedError as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise

    def scale_refused(self, kind: str, namespace: str, name: str, replicas: int) -> bool:
        """Whether this scale would be refused (nothing is changed)."""
        path = f"{self._path(kind, namespace, name)}/scale?dryRun=All"
        try:
            self._call("PATCH", path, {"spec": {"replicas": replicas}}, "application/merge-patch+json")
        except RefusedError:
            return True
        return False

    def _path(self, kind: str, namespace: str | None, name: str | None = None) -> str:
        base, plural = _PATHS[kind]
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{base}{scope}/{plural}" + (f"/{name}" if name else "")

    def _call(
        self, method: str, path: str, body: Document | None = None, content_type: str = "application/json"
    ) -> Document:
        answer = self._pool.request(
            method,
            self._host + path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type, "Accept": "application/json"} | self._headers,
        )
        document: Document = json.loads(answer.data)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise RefusedError(answer.status, str(document.get("message")))
        return document


def _bearer(configuration: client.Configuration) -> dict[str, str]:
    token = configuration.get_api_key_with_prefix("authorization")
    return {"Authorization": token} if token else {}


def wait_for(
    probe: Callable[[], T],
    what: str,
    *,
    seconds: float = 10,
    every: float = 0.03,
    show: Callable[[], object] | None = None,
) -> T:
    """The probe's first truthy answer.

    Raises:
        AssertionError: there was none in time; what `show` gives stands in the message.
    """
    end = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > end:
            seen = f"; seen instead: {show()}" if show is not None else ""
            raise AssertionError(f"not within {seconds:g} s: {what}{seen}")
        time.sleep(every)
    return answer


def holds_for(probe: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Watch that something stays true for a while.

    Raises:
        AssertionError: it did not.
    """
    end = time.monotonic() + seconds
    while True:
        assert probe(), f"not for {seconds:g} s: {what}"
        if time.monotonic() > end:
            return
        time.sleep(0.05)
