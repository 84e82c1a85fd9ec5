"""Resolves each queue of a pool to the endpoint at which it is read.

Comes in: a queue, the QueueBrokers, the Secrets as far as they have been read. Goes out: a `Binding`; or an
`Unreadable` that says what is missing; or None while a Secret has not been read yet.
"""

from collections.abc import Callable

from workerpool_operator.api import BrokerSpec, QueueSpec, SecretKeySelector, Unreadable
from workerpool_operator.brokers import BrokerError, Endpoint, endpoint_of, layout_of
from workerpool_operator.engine.store import Binding, Broker, Key

SecretValues = dict[str, str] | Unreadable
"""A Secret's values, or why it cannot be read."""
SecretLookup = Callable[[Key], SecretValues | None]


class _Pending(Exception):  # noqa: N818 - not an error
    """A Secret has not been read yet."""


def bind_queue(
    namespace: str, queue: QueueSpec, brokers: dict[Key, Broker], secrets: SecretLookup, *, in_cluster: bool = False
) -> Binding | Unreadable | None:
    """Where the queue of a pool in this namespace is read; in the cluster, bare hosts are Services of the namespace."""
    if queue.broker is not None:
        spec = queue.broker
    elif queue.broker_ref is not None:
        found = _referenced(namespace, queue.broker_ref.name, queue, brokers)
        if isinstance(found, Unreadable):
            return found
        spec = found
    else:
        raise ValueError("a validated queue has a broker or a brokerRef")
    endpoint = bind_broker(namespace, spec, queue, secrets, in_cluster=in_cluster)
    if endpoint is None or isinstance(endpoint, Unreadable):
        return endpoint
    return Binding(endpoint, layout_of(queue))


def bind_broker(
    namespace: str, spec: BrokerSpec, queue: QueueSpec | None, secrets: SecretLookup, *, in_cluster: bool = False
) -> Endpoint | Unreadable | None:
    """Where a broker is read; for its own virtual host when no queue is given."""

    def value(selector: SecretKeySelector) -> str:
        values = secrets((namespace, selector.name))
        if values is None:
            raise _Pending
        if isinstance(values, Unreadable):
            raise BrokerError(values.reason, values.message)
        if selector.key not in values:
            raise BrokerError(
                "SecretKeyMissing",
                f"Secret {selector.name} has no key {selector.key}; add it, or correct secretKeyRef.key",
            )
        return values[selector.key]

    try:
        return endpoint_of(spec, queue, value, domain=f"{namespace}.svc" if in_cluster else None)
    except BrokerError as error:
        return error.as_reading()
    except _Pending:
        return None


def _referenced(namespace: str, name: str, queue: QueueSpec, brokers: dict[Key, Broker]) -> BrokerSpec | Unreadable:
    broker = brokers.get((namespace, name))
    if broker is None:
        return Unreadable(
            "QueueBrokerMissing",
            f"QueueBroker {name} does not exist in namespace {namespace}; create it or correct brokerRef",
        )
    if broker.spec is None:
        return Unreadable("QueueBrokerInvalid", f"QueueBroker {name} is not valid: {broker.invalid}")
    if broker.spec.kind != queue.broker_kind:
        return Unreadable(
            "BrokerOfWrongKind",
            f"QueueBroker {name} is {broker.spec.kind}, the queue needs {queue.broker_kind}; name another broker",
        )
    return broker.spec
