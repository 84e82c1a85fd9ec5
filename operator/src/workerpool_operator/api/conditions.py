"""Conditions as in Kubernetes' API conventions (metav1.Condition).

Comes in: the conditions that a status held and those that hold now. Goes out: their merger, in which
lastTransitionTime moves only when a condition's status does.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from workerpool_operator.api.meta import StatusModel

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(StatusModel):
    """One aspect of the object's state."""

    type: Annotated[str, Field(description="Aspect of the state, in CamelCase.")]
    status: Annotated[ConditionStatus, Field(description="True, False or Unknown.")]
    reason: Annotated[str, Field(description="Why, as one CamelCase word.")]
    message: Annotated[str, Field(description="Why, as one sentence with the numbers.")] = ""
    last_transition_time: Annotated[
        str | None,
        Field(description="When the status last changed.", json_schema_extra={"format": "date-time"}),
    ] = None
    observed_generation: Annotated[
        int | None,
        Field(description="metadata.generation that this is about.", json_schema_extra={"format": "int64"}),
    ] = None

    def same_as(self, other: "Condition") -> bool:
        """Whether both say the same, times apart."""
        return (self.type, self.status, self.reason, self.message, self.observed_generation) == (
            other.type,
            other.status,
            other.reason,
            other.message,
            other.observed_generation,
        )


def merge_conditions(before: Sequence[Condition], after: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """The new conditions, each with the time of its last change of status.

    Args:
        before: what the status held.
        after: what holds now, without times.
        now: RFC 3339 time for those that changed.
    """
    known = {condition.type: condition for condition in before}
    merged: list[Condition] = []
    for condition in after:
        old = known.get(condition.type)
        unchanged = old is not None and old.status == condition.status and old.last_transition_time is not None
        since = old.last_transition_time if old is not None and unchanged else now
        merged.append(condition.model_copy(update={"last_transition_time": since}))
    return tuple(merged)
