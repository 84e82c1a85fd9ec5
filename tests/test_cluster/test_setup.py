"""The set-up script is quick when there is nothing to do, and says how it is used."""

import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def setup(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "tests/setup.sh", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def test_a_second_run_does_nothing_and_takes_no_time() -> None:
    assert setup("python", sys.prefix).returncode == 0
    began = time.monotonic()
    again = setup("python", sys.prefix)

    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert time.monotonic() - began < 2


def test_other_words_are_answered_with_the_usage() -> None:
    answer = setup("everything")

    assert answer.returncode == 1
    assert "usage:" in answer.stderr
