"""Fixtures of all tests: real brokers, real clusters, the operator as a process.

In: nothing. Out: the fixtures of `tests/servers`, `tests/cluster` and `tests/running`, by name.
"""

pytest_plugins = ["tests.servers.fixtures", "tests.cluster.fixtures", "tests.running.fixtures"]
