"""What `helm test` runs in the cluster: the Service answers, the operator is in sync and measures.

Takes the Service's base URL. Tries for a minute, because an installation without --wait is tested
while its pods still start; exits non-zero with the last reason.
"""
# ruff: noqa: INP001 - this is a file of the chart, not of a package

import sys
import time
import urllib.error
import urllib.request

DEADLINE_SECONDS = 60.0


def fetch(url: str) -> str:
    """The body of a 2xx answer; urllib raises for everything else."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the chart gives the URL
        return str(answer.read().decode())


def check(base: str) -> str:
    """An empty string when all is well, otherwise what is wrong."""
    try:
        fetch(f"{base}/readyz")
        metrics = fetch(f"{base}/metrics")
    except (urllib.error.URLError, OSError) as error:
        return f"{base}: {error}"
    return "" if "workerpool_" in metrics else f"{base}/metrics has no workerpool_ metric"


def main() -> None:
    """Check until it succeeds or the minute is over."""
    base = sys.argv[1]
    end = time.monotonic() + DEADLINE_SECONDS
    while wrong := check(base):
        if time.monotonic() > end:
            sys.exit(wrong)
        time.sleep(1)
    print(f"{base}: ready, and /metrics answers")


if __name__ == "__main__":
    main()
