"""The backlog rule: replicas in proportion to the jobs waiting and in flight.

Comes in: the rule and the demand. Goes out: replicas before any limit, and the formula with its numbers.
"""

from workerpool_operator.api.workerpool import BacklogRule
from workerpool_operator.scaling.demand import Demand


def backlog(rule: BacklogRule, demand: Demand) -> tuple[int, str]:
    """Replicas that the rule wants: ceil(jobs / rule.jobs) * rule.replicas, in exact integers.

    Returns:
        The replicas, and how they come about: `ceil(123/50)*2 = 6`.
    """
    replicas = -(-demand.jobs // rule.jobs) * rule.replicas
    factor = f"*{rule.replicas}" if rule.replicas != 1 else ""
    return replicas, f"ceil({demand.jobs}/{rule.jobs}){factor} = {replicas}"
