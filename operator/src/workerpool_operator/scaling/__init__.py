"""Depths in, a decision out. Pure: no I/O, no clock (time is passed in), no asyncio.

Comes in: a pool's spec, what was decided before (`PoolMemory`), what is seen now (`Observation`), and the time
in seconds. Goes out: a `Decision` that says how many replicas, why, what limited it, and when to look again.
"""

from workerpool_operator.scaling.decide import decide
from workerpool_operator.scaling.types import Decision, Observation, PoolMemory, Reason

__all__ = ["Decision", "Observation", "PoolMemory", "Reason", "decide"]
