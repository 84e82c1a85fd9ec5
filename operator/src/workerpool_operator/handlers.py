"""kopf decorators only: they put resources into the engine's store and take them out.

Comes in: watch events. Goes out: calls of the engine, which never wait; they are coroutines all the same, since
kopf runs plain functions in threads. No finalizer and no annotation is ever put on a user's object.
"""

import itertools
from typing import Any

import kopf

from workerpool_operator.api.meta import GROUP, PLURALS, VERSION
from workerpool_operator.engine import Engine

# A list of 10,000 objects takes seconds; watches have no such limit.
_REQUEST_SECONDS = 60.0
_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 1.0

REGISTRY = kopf.OperatorRegistry()


def _engine(memo: kopf.Memo) -> Engine:
    engine: Engine = memo.engine
    return engine


@kopf.on.startup(registry=REGISTRY)
async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:  # noqa: ANN401 - kopf's protocol
    """Make kopf write nothing at all, and come back soon after an outage of the API server, however long.

    It does not look for CRDs and namespaces, which would need more rights: `run.py` waits for the CRDs.
    """
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.error_backoffs = itertools.repeat(_RETRY_SECONDS)
    settings.networking.connect_timeout = _CONNECT_SECONDS
    settings.networking.request_timeout = _REQUEST_SECONDS


@kopf.on.login(registry=REGISTRY)
def login(**kwargs: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 - kopf's protocol
    """As the pod's service account, or as the kubeconfig says: the same as the engine's own client."""
    return kopf.login_via_client(**kwargs)


@kopf.on.event(GROUP, VERSION, PLURALS["WorkerPool"], registry=REGISTRY)
async def pool(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401 - kopf's protocol
    """A WorkerPool was seen, changed or deleted."""
    _engine(memo).on_pool(event["type"], event["object"])


@kopf.on.event(GROUP, VERSION, PLURALS["QueueBroker"], registry=REGISTRY)
async def broker(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401 - kopf's protocol
    """A QueueBroker was seen, changed or deleted."""
    _engine(memo).on_broker(event["type"], event["object"])


@kopf.on.event("apps", "v1", "deployments", registry=REGISTRY)
@kopf.on.event("apps", "v1", "statefulsets", registry=REGISTRY)
async def target(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401 - kopf's protocol
    """A Deployment or StatefulSet was seen, changed or deleted."""
    _engine(memo).on_target(event["type"], event["object"])
