"""The main job with everything real: chart, images, brokers, workers, jobs.

In: a cluster that runs pods. Out: proof that all jobs of the demo are done by pods that come and go.
"""

import time

import pytest

from tests.cluster import Cluster
from tests.demo.jobs import workloads
from tests.demo.report import picture, summary
from tests.demo.stage import Stage
from tests.demo.timeline import POOLS, watch


@pytest.mark.pods
@pytest.mark.timeout(1500)
def test_pools_go_from_zero_through_all_jobs_and_back_to_zero(
    pod_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stage = Stage.on(pod_cluster)
    works = workloads()
    expected = {work.pool: len(work.jobs) for work in works}
    started = time.monotonic()
    with stage.enqueueing(works):
        run = watch(stage, expected, started, limit=420, tell=print)

    print("\n".join(summary(run, expected)))
    assert run.done_at is not None, "some jobs were not done"
    assert run.zero_at is not None, "some pool did not go back to zero"
    for pool in POOLS:
        samples = run.samples[pool]
        assert samples[-1].done == expected[pool], f"{pool}: jobs were lost or done twice"
        assert max(sample.desired for sample in samples) > 1, f"{pool} was never scaled beyond one"
    file = tmp_path_factory.mktemp("picture") / "run.svg"
    picture(run, file)
    assert file.read_text().count("<path") > len(POOLS)
