"""Leader election by a Lease (coordination.k8s.io/v1), with client-go's semantics.

Comes in: the Lease's name and who we are. Goes out: `leading`, and callbacks when it changes. The clocks of other
machines are not trusted: a Lease has expired when it did not change for its duration on our own clock. The official
Python client's election neither releases the Lease on a clean stop nor survives a lost one, hence this file.
"""

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Callable

from workerpool_operator.cluster.client import ApiError, Document, KubeClient

_log = logging.getLogger(__name__)

# A standby takes over within duration + retry of a kill -9. A leader that cannot renew steps down before that.
DURATION_SECONDS = 8
_RENEW_SECONDS = 5.0
_RETRY_SECONDS = 1.0


class LeaseElector:
    """Holds the Lease, or waits for it.

    Attributes:
        leading: whether this process may act now.
    """

    def __init__(
        self, client: KubeClient, namespace: str, name: str, identity: str, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._identity = identity
        self._clock = clock
        self._renewed_at = float("-inf")
        self._seen: tuple[str, float] = ("", 0.0)
        self._held = False

    @property
    def leading(self) -> bool:
        """True while the Lease is ours and was renewed recently enough that nobody can have taken it."""
        return self._held and self._clock() - self._renewed_at < _RENEW_SECONDS + _RETRY_SECONDS

    async def run(self, on_change: Callable[[bool], None]) -> None:
        """Try for the Lease and renew it, for ever; release it when cancelled.

        Args:
            on_change: called with the new value whenever leading begins or ends.
        """
        try:
            while True:
                led = self._held
                await self._attempt()
                if self._held and not self.leading:
                    self._held = False
                if self._held != led:
                    _log.info("%s the lead", "took" if self._held else "lost")
                    on_change(self._held)
                await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await self._release()

    async def _attempt(self) -> None:
        started = self._clock()
        try:
            async with asyncio.timeout(_RENEW_SECONDS):
                self._held = await self._acquire_or_renew()
        except (ApiError, TimeoutError) as error:
            _log.warning("the Lease cannot be read or written: %s", error)
            return
        if self._held:
            self._renewed_at = started

    async def _acquire_or_renew(self) -> bool:
        try:
            lease = await self._client.get(f"{self._path}/{self._name}")
        except ApiError as error:
            if not error.not_found:
                raise
            return await self._write(None)
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity") or ""
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, self._clock())
        expired = self._clock() - self._seen[1] > spec.get("leaseDurationSeconds", DURATION_SECONDS)
        if holder in ("", self._identity) or expired:
            return await self._write(lease)
        return False

    async def _write(self, lease: Document | None) -> bool:
        """Create the Lease or put our name into it; False when somebody else was faster."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = lease.get("spec", {}) if lease else {}
        ours = before.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": before.get("acquireTime", now) if ours else now,
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0) + (0 if ours or lease is None else 1),
        }
        try:
            if lease is None:
                written = await self._client.post(self._path, self._document({"name": self._name}, spec))
            else:
                written = await self._client.put(f"{self._path}/{self._name}", self._document(lease["metadata"], spec))
        except ApiError as error:
            if error.conflict:
                return False
            raise
        self._seen = (written["metadata"]["resourceVersion"], self._clock())
        return True

    def _document(self, metadata: Document, spec: Document) -> Document:
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _release(self) -> None:
        """Take our name out, so that a standby need not wait for the Lease to expire."""
        if not self._held:
            return
        self._held = False
        with contextlib.suppress(ApiError, TimeoutError):
            async with asyncio.timeout(2):
                lease = await self._client.get(f"{self._path}/{self._name}")
                if lease["spec"].get("holderIdentity") == self._identity:
                    spec = lease["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._client.put(f"{self._path}/{self._name}", self._document(lease["metadata"], spec))
                    _log.info("released the lead")
