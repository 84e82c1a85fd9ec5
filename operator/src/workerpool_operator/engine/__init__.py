"""Sample, decide, act, for all pools: owns concurrency, retries and deadlines.

Comes in: resources, as the handlers see them come and go. Goes out: scale patches, status, events, and the state
that metrics are made of.
"""

from workerpool_operator.engine.engine import Engine
from workerpool_operator.engine.store import Broker, Pool, Store, Target

__all__ = ["Broker", "Engine", "Pool", "Store", "Target"]
