"""Values are documented, in the schema, and refused with words that tell what is wrong."""

import json
from typing import Any

import pytest
from yaml import safe_load

from tests.chart.rendering import CHART, MAXIMAL, ChartError, render
from tests.chart.values_table import README, undocumented, values, written

SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def _resolve(schema: dict[str, Any]) -> dict[str, Any]:
    if reference := schema.get("$ref"):
        found: dict[str, Any] = SCHEMA["definitions"][reference.rpartition("/")[2]]
        return found
    return schema


def _missing(node: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Paths of `node` that the schema does not name. Maps that users fill freely have no `properties`."""
    schema = _resolve(schema)
    if not isinstance(node, dict) or "properties" not in schema:
        return []
    missing = []
    for key, child in node.items():
        if key in schema["properties"]:
            missing += _missing(child, schema["properties"][key], f"{path}.{key}")
        else:
            missing.append(f"{path}.{key}")
    return missing


def _closed(schema: dict[str, Any], path: str = "") -> list[str]:
    """Paths of objects with named properties that would let a misspelt one pass."""
    schema = _resolve(schema)
    open_here = [path] if "properties" in schema and schema.get("additionalProperties") is not False else []
    children = [(f"{path}.{key}", child) for key, child in schema.get("properties", {}).items()]
    return open_here + [name for where, child in children for name in _closed(child, where)]


def test_every_value_is_documented() -> None:
    assert undocumented() == []


def test_the_readme_shows_every_value() -> None:
    assert README.read_text() == written(README.read_text()), "run `python -m tests.chart.values_table --write`"


def test_every_value_is_in_the_schema_and_the_reverse() -> None:
    assert _missing(values(), SCHEMA) == []
    assert set(SCHEMA["properties"]) - {"global"} == set(values())


def test_no_misspelt_value_passes() -> None:
    assert _closed(SCHEMA) == []


def test_the_maximal_values_change_every_default() -> None:
    def same(default: Any, given: Any, path: str) -> list[str]:
        if isinstance(default, dict) and default:
            return [
                name for key in default for name in same(default[key], given.get(key, default[key]), f"{path}.{key}")
            ]
        return [path] if default == given else []

    maximal = safe_load(MAXIMAL.read_text())
    unchanged = same(values(), maximal, "")
    # These have no other value that goes together with the rest; test_render.py tries them one by one.
    assert [path for path in unchanged if not path.startswith((".podSecurityContext", ".securityContext"))] == [
        ".leaderElection.enabled",
        ".crds.install",
        ".rbac.create",
        ".serviceAccount.create",
        ".podDisruptionBudget.enabled",
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("replicas: 2", "additional properties 'replicas' not allowed"),
        ("replicaCount: two", "at '/replicaCount': got string, want integer"),
        ("replicaCount: -1", "at '/replicaCount': minimum: got -1, want 0"),
        ("image: {pullPolicy: Sometimes}", "at '/image/pullPolicy': value must be one of"),
        ("image: {repository: ''}", "at '/image/repository'"),
        ("image: {digest: latest}", "at '/image/digest': 'latest' does not match pattern"),
        ("settings: {logLevel: verbose}", "at '/settings/logLevel': value must be one of 'DEBUG', 'INFO'"),
        ("settings: {sampleIntervalSeconds: 0}", "at '/settings/sampleIntervalSeconds': minimum: got 0, want 0.1"),
        ("settings: {interval: 1}", "at '/settings': additional properties 'interval' not allowed"),
        ("watchNamespaces: media", "at '/watchNamespaces': got string, want array"),
        ("watchNamespaces: [Media]", "at '/watchNamespaces/0': 'Media' does not match pattern"),
        ("watchNamespaces: [media, media]", "at '/watchNamespaces'"),
        ("rbac: {extraScaleTargets: [{resource: rollouts}]}", "missing property 'apiGroup'"),
        ("service: {port: 70000}", "at '/service/port': maximum: got 70,000, want 65,535"),
        ("serviceMonitor: {interval: soon}", "at '/serviceMonitor/interval': 'soon' does not match pattern"),
        ("podDisruptionBudget: {maxUnavailable: half}", "at '/podDisruptionBudget/maxUnavailable'"),
        ("extraEnv: [{name: WORKERPOOL_NAMESPACES, value: a}]", "at '/extraEnv/0/name'"),
        ("podLabels: {app.kubernetes.io/name: mine}", "at '/podLabels/app.kubernetes.io~1name'"),
        ("resources: {memory: 1Gi}", "at '/resources': additional properties 'memory' not allowed"),
        ("leaderElection: {enabled: false}", "replicaCount above 1 needs leaderElection.enabled=true"),
    ],
)
def test_wrong_values_are_refused(wrong: str, said: str) -> None:
    with pytest.raises(ChartError) as refused:
        render(wrong)
    assert said in str(refused.value)
