"""Names of the API group and the base of all its models.

Comes in: nothing. Goes out: GROUP, VERSION, PLURALS, and two pydantic bases: `SpecModel` (what users
write: unknown fields are errors, immutable) and `StatusModel` (what the operator writes).
"""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP: Final = "workerpool.dev"
VERSION: Final = "v1alpha1"
Kind = Literal["WorkerPool", "QueueBroker"]
PLURALS: Final[dict[Kind, str]] = {"WorkerPool": "workerpools", "QueueBroker": "queuebrokers"}

# RFC 1123 names, as the API server checks them. Names become part of paths: a slash would lead elsewhere.
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class SpecModel(BaseModel):
    """A part of a spec: camelCase outside, frozen, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )


class StatusModel(BaseModel):
    """A part of a status: camelCase outside, frozen; fields that the operator no longer knows are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    def document(self) -> dict[str, Any]:
        """The status as JSON for a merge patch: unset numbers are null, so that they vanish from the object."""
        return self.model_dump(mode="json", by_alias=True)


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Schema extension that holds CEL rules, as (rule, message that tells the mend)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def exactly_one(first: object, second: object, message: str) -> None:
    """The check of two alternatives that CEL writes as `has(first) != has(second)`.

    Raises:
        ValueError: none or both are set; with the message.
    """
    if (first is None) == (second is None):
        raise ValueError(message)
