"""What the demo says in the end: a summary as text, and a picture of depth and replicas over time.

In: the samples of a run. Out: lines, and an SVG file.
"""

from pathlib import Path

from tests.demo.jobs import PoolName
from tests.demo.timeline import POOLS, Run

_COLOURS: dict[PoolName, str] = {"video": "#c0392b", "image": "#2471a3", "email": "#1e8449"}


def summary(run: Run, expected: dict[PoolName, int]) -> list[str]:
    """Jobs done, time to the first pod, time to done: a line for each pool and one for all."""
    lines = [f"{'pool':<8}{'jobs':>6}{'done':>6}{'lost':>6}{'first pod':>12}{'most pods':>11}"]
    for pool in POOLS:
        samples = run.samples[pool]
        done = min(samples[-1].done, expected[pool]) if samples else 0
        first = f"{run.first_pod[pool]:.1f} s" if pool in run.first_pod else "never"
        most = max((sample.running for sample in samples), default=0)
        lines.append(f"{pool:<8}{expected[pool]:>6}{done:>6}{expected[pool] - done:>6}{first:>12}{most:>11}")
    done_at = f"{run.done_at:.1f} s" if run.done_at is not None else "never"
    zero_at = f"{run.zero_at:.1f} s" if run.zero_at is not None else "never"
    lines.append(f"from the first enqueue: all jobs done after {done_at}, all pools at zero after {zero_at}")
    return lines


def picture(run: Run, path: Path) -> None:
    """Draw waiting jobs and replicas of each pool over time, as SVG."""
    # Imported late: only this needs it, and it takes a second.
    import matplotlib as mpl

    mpl.use("svg")
    # The same run gives the same file, and text stays text.
    mpl.rcParams.update({"svg.hashsalt": "demo", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(len(POOLS), 1, sharex=True, figsize=(9, 6.5), layout="constrained")
    for axis, pool in zip(rows, POOLS, strict=True):
        samples = run.samples[pool]
        depth = [(sample.waiting or 0) + (sample.in_flight or 0) for sample in samples]
        axis.fill_between(run.times, depth, step="post", color=_COLOURS[pool], alpha=0.18, linewidth=0)
        axis.step(run.times, depth, where="post", color=_COLOURS[pool], linewidth=1, label="jobs waiting and in flight")
        axis.set_ylabel(f"{pool}\njobs")
        axis.set_ylim(bottom=0)
        replicas = axis.twinx()
        desired = [sample.desired for sample in samples]
        running = [sample.running for sample in samples]
        replicas.step(run.times, desired, where="post", color="black", linewidth=1.6, label="replicas wanted")
        replicas.step(run.times, running, where="post", color="black", linewidth=1, linestyle=":", label="pods running")
        replicas.set_ylim(0, max([*desired, *running, 1]) + 0.5)
        replicas.set_ylabel("replicas")
        replicas.yaxis.get_major_locator().set_params(integer=True)
        handles = [*axis.get_legend_handles_labels()[0], *replicas.get_legend_handles_labels()[0]]
        labels = [*axis.get_legend_handles_labels()[1], *replicas.get_legend_handles_labels()[1]]
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    rows[-1].set_xlabel("seconds since the first job was enqueued")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)
