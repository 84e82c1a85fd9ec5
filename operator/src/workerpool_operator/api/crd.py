"""CustomResourceDefinitions out of the pydantic models.

Comes in: the models of this package. Goes out: CRD documents with a structural schema, and the YAML files
made of them. A structural schema (Kubernetes docs, "Specifying a structural schema") knows no $ref, no null
type and no additionalProperties: false beside properties: `_structural` rewrites what pydantic emits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from workerpool_operator.api.meta import GROUP, PLURALS, VERSION, Kind
from workerpool_operator.api.queuebroker import BrokerSpec, QueueBrokerStatus
from workerpool_operator.api.workerpool import WorkerPoolSpec, WorkerPoolStatus

Schema = dict[str, Any]

_HEADER: Final = "# Generated from operator/src/workerpool_operator/api by `make generate`; edit the models instead.\n"
_DROPPED: Final = frozenset({"title", "additionalProperties", "$defs"})
# Values of users, not schemas.
_LITERAL: Final = frozenset({"default", "enum", "example"})


def _column(name: str, type_: str, path: str, description: str, *, priority: int = 0) -> Schema:
    column: Schema = {"name": name, "type": type_, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


_COLUMNS: Final[dict[Kind, list[Schema]]] = {
    "WorkerPool": [
        _column("Target", "string", ".spec.scaleTargetRef.name", "What is scaled."),
        _column("Waiting", "integer", ".status.waiting", "Jobs waiting, over all queues."),
        _column("In-Flight", "integer", ".status.inFlight", "Jobs in flight, over all queues."),
        _column("Replicas", "integer", ".status.replicas", "Replicas that the target has."),
        _column("Desired", "integer", ".status.desiredReplicas", "Replicas that the target should have."),
        _column("Min", "integer", ".spec.minReplicas", "Fewest replicas."),
        _column("Max", "integer", ".spec.maxReplicas", "Most replicas."),
        _column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether all is well."),
        _column("Reason", "string", ".status.reason", "Why this many replicas."),
        _column("Age", "date", ".metadata.creationTimestamp", "Time since the pool was made."),
        _column("Message", "string", ".status.message", "Why this many replicas, with the numbers.", priority=1),
    ],
    "QueueBroker": [
        _column("Connected", "string", '.status.conditions[?(@.type=="Connected")].status', "Whether it answers."),
        _column("Reason", "string", '.status.conditions[?(@.type=="Connected")].reason', "Why it is so."),
        _column("Version", "string", ".status.serverVersion", "Version of the server."),
        _column("Latency-ms", "integer", ".status.latencyMilliseconds", "Time of the last batch of reads."),
        _column("Queues", "integer", ".status.queues", "Queues read over it."),
        _column("Age", "date", ".metadata.creationTimestamp", "Time since the broker was made."),
    ],
}
_SHORT: Final[dict[Kind, str]] = {"WorkerPool": "wp", "QueueBroker": "qb"}
_MODELS: Final[dict[Kind, tuple[type[BaseModel], type[BaseModel], str]]] = {
    "WorkerPool": (
        WorkerPoolSpec,
        WorkerPoolStatus,
        "WorkerPool keeps a Deployment of queue workers at the size that its queues need.",
    ),
    "QueueBroker": (
        BrokerSpec,
        QueueBrokerStatus,
        "QueueBroker is one connection to Redis or RabbitMQ, shared by the WorkerPools of its namespace.",
    ),
}


def _structural(node: Any, definitions: Mapping[str, Schema]) -> Any:  # noqa: ANN401 - JSON
    """The node with references inlined, nulls taken out and keys dropped that a structural schema forbids."""
    if isinstance(node, list):
        return [_structural(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _structural(target | {k: v for k, v in node.items() if k != "$ref"}, definitions)
    if "anyOf" in node:
        (variant,) = (option for option in node["anyOf"] if option.get("type") != "null")
        rest = {k: v for k, v in node.items() if k != "anyOf"}
        if rest.get("default", ...) is None:
            del rest["default"]
        inlined = _structural(variant, definitions)
        return inlined | _structural(rest, definitions)
    schema: Schema = {}
    for key, value in node.items():
        if key == "properties":
            schema[key] = {name: _structural(child, definitions) for name, child in value.items()}
        elif key == "description":
            schema[key] = " ".join(value.split())
        elif key in _LITERAL:
            schema[key] = value
        elif key == "const":
            schema["enum"] = [value]
        elif (key == "additionalProperties" and isinstance(value, dict)) or key not in _DROPPED:
            schema[key] = _structural(value, definitions)
    return schema


def schema_of(model: type[BaseModel]) -> Schema:
    """The structural schema of a model, by its camelCase names.

    Raises:
        ValueError: a field is a union of more than one type and null.
    """
    document = model.model_json_schema(by_alias=True)
    schema: Schema = _structural(document, document.get("$defs", {}))
    return schema


def crd(kind: Kind) -> Schema:
    """The CustomResourceDefinition of a kind."""
    spec, status, description = _MODELS[kind]
    plural = PLURALS[kind]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [_SHORT[kind]],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _COLUMNS[kind],
                    "schema": {
                        "openAPIV3Schema": {
                            "description": description,
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": schema_of(spec),
                                "status": schema_of(status),
                            },
                        }
                    },
                }
            ],
        },
    }


def crd_yaml(kind: Kind) -> str:
    """The CRD as the text of its file."""
    return _HEADER + yaml.safe_dump(crd(kind), sort_keys=False, width=120, allow_unicode=True)


def crd_files(root: Path) -> dict[Path, str]:
    """Every file that is generated below a checkout's root, with its text."""
    folders = (root / "crds", root / "charts" / "workerpool-operator" / "files" / "crds")
    return {folder / f"{GROUP}_{PLURALS[kind]}.yaml": crd_yaml(kind) for folder in folders for kind in _MODELS}
