"""The generated CRDs: the files in the tree are them, their schemas are structural, and the converter does its part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
import yaml
from pydantic import BaseModel, Field

from workerpool_operator.api.crd import crd, crd_files, crd_yaml, schema_of
from workerpool_operator.api.meta import Kind

ROOT = Path(__file__).resolve().parents[3]
KINDS: tuple[Kind, ...] = get_args(Kind)
Node = tuple[str, dict[str, Any]]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[Node]:
    """Every schema below this one, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def schema(kind: Kind) -> dict[str, Any]:
    (version,) = crd(kind)["spec"]["versions"]
    document: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return document


ALL: list[Node] = [(kind + path, node) for kind in KINDS for path, node in nodes(schema(kind))]


def breaking(rule: Any) -> list[str]:
    """The paths of all schemas that break a rule."""
    return [path for path, node in ALL if not rule(path, node)]


# -- the files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path.relative_to(ROOT) for path in crd_files(ROOT)], ids=str)
def test_a_file_in_the_tree_is_what_the_models_generate(path: Path) -> None:
    assert (ROOT / path).read_text() == crd_files(ROOT)[ROOT / path], "run `make generate`"


def test_there_is_a_file_of_each_kind_in_each_folder_and_no_other() -> None:
    generated = set(crd_files(ROOT))
    assert len(generated) == 2 * len(KINDS)
    assert {path for folder in {path.parent for path in generated} for path in folder.iterdir()} == generated


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_of_a_file_is_the_document(kind: Kind) -> None:
    assert yaml.safe_load(crd_yaml(kind)) == crd(kind)


# -- structural, and fit for users ---------------------------------------------------------------------------------


def test_the_walk_sees_the_leaves() -> None:
    paths = {path for path, _ in ALL}
    assert "WorkerPool.spec.queues[].broker.redis.urlFrom.secretKeyRef.key" in paths
    assert "QueueBroker.status.conditions[].lastTransitionTime" in paths


@pytest.mark.parametrize("word", ["$ref", "$defs", "definitions", "const", "title", "anyOf", "oneOf", "nullable"])
def test_no_schema_has(word: str) -> None:
    assert breaking(lambda _path, node: word not in node) == []


def test_every_schema_has_one_type_that_is_not_null() -> None:
    allowed = {"object", "array", "string", "integer", "boolean"}
    assert breaking(lambda _path, node: node.get("type") in allowed) == []


def test_no_object_has_properties_and_additional_properties() -> None:
    assert breaking(lambda _path, node: not {"properties", "additionalProperties"} <= node.keys()) == []


def test_every_property_is_described() -> None:
    standard = {f"{kind}.{name}" for kind in KINDS for name in ("apiVersion", "kind", "metadata")}
    items = "[]"
    undescribed = breaking(lambda path, node: path in standard or path.endswith(items) or node.get("description"))
    assert undescribed == []


def test_every_description_is_one_line_that_ends_as_a_sentence() -> None:
    def well(_path: str, node: dict[str, Any]) -> bool:
        text = node.get("description", "a.")
        return "\n" not in text and text.endswith((".", ")."))

    assert breaking(well) == []


def test_every_integer_says_how_wide_it_is() -> None:
    assert breaking(lambda _path, node: node["type"] != "integer" or node.get("format") in ("int32", "int64")) == []


def test_every_number_fits_its_format() -> None:
    def fits(_path: str, node: dict[str, Any]) -> bool:
        return node.get("format") != "int32" or node.get("maximum", 0) < 2**31

    assert breaking(fits) == []


def test_everything_that_a_user_writes_is_bounded() -> None:
    """Unbounded strings and lists make the API server refuse CEL rules, whose cost it estimates."""

    def bounded(path: str, node: dict[str, Any]) -> bool:
        bounds = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}
        return ".spec." not in path or node["type"] not in bounds or bounds[node["type"]] in node or "enum" in node

    assert breaking(bounded) == []


def test_every_list_of_objects_is_a_map_by_a_required_key() -> None:
    def keyed(_path: str, node: dict[str, Any]) -> bool:
        if node["type"] != "array":
            return True
        keys = node.get("x-kubernetes-list-map-keys", [])
        return node.get("x-kubernetes-list-type") == "map" and set(keys) <= set(node["items"]["required"]) and keys

    assert breaking(keyed) == []


def test_defaults_are_values_of_their_schema() -> None:
    types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    assert breaking(lambda _path, node: isinstance(node.get("default"), (types[node["type"]], type(None)))) == []


def test_defaults_of_a_nested_object_are_those_of_its_fields() -> None:
    behavior = schema("WorkerPool")["properties"]["spec"]["properties"]["behavior"]
    assert behavior["default"] == {"scaleDown": {"stabilizationWindowSeconds": 300}}


def test_every_rule_has_a_message() -> None:
    def told(_path: str, node: dict[str, Any]) -> bool:
        return all(rule["message"] and rule["rule"] for rule in node.get("x-kubernetes-validations", []))

    assert breaking(told) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_shows_a_field_that_exists_with_its_type(kind: Kind) -> None:
    (version,) = crd(kind)["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        if column["jsonPath"].startswith(".metadata."):
            continue
        node = schema(kind)
        for name in column["jsonPath"].split("[")[0].removeprefix(".").split("."):
            node = node["properties"][name]
        assert node["type"] == ("array" if "[" in column["jsonPath"] else column["type"]), column["name"]


# -- the converter -------------------------------------------------------------------------------------------------


class Inner(BaseModel):
    """Inner
    thing."""

    size: Annotated[int, Field(description="Size.")] = 3


class Outer(BaseModel):
    """Outer thing."""

    inner: Annotated[Inner, Field(description="Mine.")]
    maybe: Annotated[Inner | None, Field(description="Perhaps.")] = None
    text: Annotated[str | None, Field(min_length=1, description="A text.")] = None
    five: Annotated[int | None, Field(description="Five.")] = 5
    one_of: Annotated[Literal["a", "b"], Field(description="One of two.")] = "a"
    only: Annotated[Literal["a"], Field(description="One of one.")] = "a"
    many: Annotated[tuple[Inner, ...], Field(description="Many.")] = ()
    labels: Annotated[dict[str, str], Field(description="Labels.")] = {"title": "kept", "const": "kept"}
    title: Annotated[str, Field(description="A field by the name of a keyword.")] = ""


CONVERTED = schema_of(Outer)["properties"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "inner",
            {"type": "object", "description": "Mine.", "properties": {"size": {"type": "integer", "default": 3}}},
        ),
        (
            "maybe",
            {"type": "object", "description": "Perhaps.", "properties": {"size": {"type": "integer", "default": 3}}},
        ),
        ("text", {"type": "string", "description": "A text.", "minLength": 1}),
        ("five", {"type": "integer", "description": "Five.", "default": 5}),
        ("one_of", {"type": "string", "description": "One of two.", "enum": ["a", "b"], "default": "a"}),
        ("only", {"type": "string", "description": "One of one.", "enum": ["a"], "default": "a"}),
        (
            "labels",
            {
                "type": "object",
                "description": "Labels.",
                "additionalProperties": {"type": "string"},
                "default": {"title": "kept", "const": "kept"},
            },
        ),
        ("title", {"type": "string", "description": "A field by the name of a keyword.", "default": ""}),
    ],
)
def test_converting(name: str, expected: dict[str, Any]) -> None:
    converted = dict(CONVERTED[name])
    if "properties" in converted:
        converted["properties"] = {
            key: {word: value for word, value in child.items() if word != "description"}
            for key, child in converted["properties"].items()
        }
    assert converted == expected


def test_converting_a_list_inlines_its_items() -> None:
    assert CONVERTED["many"]["items"]["properties"]["size"]["default"] == 3
    assert CONVERTED["many"]["items"]["description"] == "Inner thing."


def test_a_union_of_two_types_is_refused() -> None:
    class Union(BaseModel):
        either: int | str

    with pytest.raises(ValueError, match="too many values"):
        schema_of(Union)
