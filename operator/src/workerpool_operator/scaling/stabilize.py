"""The stabilization window for scaling down, as in the HorizontalPodAutoscaler.

Within the window replicas are lowered only to the most that was recommended (Kubernetes docs, "Stabilization
window"). Comes in: the recommendations kept so far. Goes out: those to keep, and the highest that still counts.
"""

from workerpool_operator.scaling.types import Recommendation


def remember(kept: tuple[Recommendation, ...], replicas: int, now: float, window: float) -> tuple[Recommendation, ...]:
    """The recommendations to keep once `replicas` is recommended at `now` (seconds; window in seconds).

    The newest one held until now, since a decision is taken anew only when something changes. One that is no higher
    than the new one can never be the highest again, so it is dropped: the rest falls in replicas and rises in time.
    """
    held = (*kept[:-1], Recommendation(now, kept[-1].replicas)) if kept else ()
    recent = (old for old in held if old.until + window > now and old.replicas > replicas)
    return (*recent, Recommendation(now, replicas))


def highest(kept: tuple[Recommendation, ...]) -> int:
    """The most replicas that were wanted within the window."""
    return kept[0].replicas


def falls_at(kept: tuple[Recommendation, ...], window: float) -> float | None:
    """When (seconds) the highest recommendation leaves the window; None if it is the newest one."""
    return kept[0].until + window if len(kept) > 1 else None
