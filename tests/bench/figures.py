"""Percentiles, tables and the closing JSON line of a benchmark.

In: samples in seconds. Out: text.
"""

import json
import math
from collections.abc import Mapping, Sequence


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` (0 to 1) of all samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_figures(samples: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds, of samples in seconds."""
    return {f"p{round(share * 100)}_ms": round(percentile(samples, share) * 1000, 1) for share in (0.5, 0.95, 0.99)}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns wide enough for their contents, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        first, *others = (
            (cell.rjust if column else cell.ljust)(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *others)))
    return "\n".join(lines)


def closing_line(figures: Mapping[str, object]) -> None:
    """The last line of a benchmark."""
    print(json.dumps(figures), flush=True)
