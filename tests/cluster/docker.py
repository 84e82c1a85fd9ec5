"""Images built by a Docker engine, for kind and for the user's own cluster.

A Dockerfile and its context come in, an image in the engine goes out; Docker's own layer cache makes repeats cheap.
"""

from pathlib import Path

from tests.cluster.commands import run_long


def build(tag: str, dockerfile: Path, context: Path) -> None:
    """Builds an image in the Docker engine."""
    words: list[str | Path] = ["docker", "build", "--tag", tag, "--file", dockerfile, context]
    run_long(words, f"building the image {tag}", expected_seconds=120)


def push(tag: str) -> None:
    """Pushes an image to the registry that its name begins with."""
    run_long(["docker", "push", tag], f"pushing the image {tag}", expected_seconds=60)
