"""What an image is built from: the files of a build context that `.dockerignore` leaves over.

A Dockerfile and a folder come in; the ignore file that holds for them and a digest of all that a build can see go out.
The rules are Docker's: the last pattern that matches a path, or a folder above it, decides.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cache import digest


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an ignore file: paths that match `pattern` are left out, or with `keeps` taken in again."""

    pattern: re.Pattern[str]
    keeps: bool


def ignore_file(dockerfile: Path, context: Path) -> Path | None:
    """Returns the ignore file: the Dockerfile's own if it has one, else the context's, else none."""
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    common = context / ".dockerignore"
    return own if own.exists() else common if common.exists() else None


def context_digest(dockerfile: Path, context: Path) -> str:
    """Returns a digest that changes with the Dockerfile and every file that a build can see."""
    ignore = ignore_file(dockerfile, context)
    rules = parse(ignore.read_text()) if ignore else []
    parts: list[bytes | str] = [dockerfile.read_bytes()]
    for name in visible(context, rules):
        path = context / name
        parts.append(name)
        parts.append(str(path.readlink()) if path.is_symlink() else path.read_bytes())
        parts.append("x" if path.lstat().st_mode & 0o100 else "-")
    return digest(*parts)


def parse(text: str) -> list[Rule]:
    """Returns the rules of an ignore file, in their order."""
    lines = [line.strip() for line in text.splitlines()]
    return [_rule(line) for line in lines if line and not line.startswith("#")]


def visible(context: Path, rules: list[Rule]) -> Iterator[str]:
    """Yields the paths of all files that are not ignored, relative to the context, in a fixed order."""
    any_kept = any(rule.keeps for rule in rules)
    for folder, folders, files in os.walk(context):
        inside = Path(folder).relative_to(context)
        folders.sort()
        if not any_kept:  # else something deeper may be taken in again
            folders[:] = [name for name in folders if not ignored(str(inside / name), rules)]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in sorted([*files, *links]):
            path = str(inside / name)
            if not ignored(path, rules):
                yield path


def ignored(path: str, rules: list[Rule]) -> bool:
    """Tells whether the rules leave out a path."""
    answer = False
    parents = [path, *(str(parent) for parent in Path(path).parents)]
    for rule in rules:
        if any(rule.pattern.fullmatch(part) for part in parents):
            answer = not rule.keeps
    return answer


def _rule(line: str) -> Rule:
    keeps = line.startswith("!")
    words = os.path.normpath(line.removeprefix("!").strip()).strip("/")
    return Rule(re.compile(_expression(words)), keeps)


def _expression(words: str) -> str:
    expression = ""
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[[^]]*\]|.", words):
        match token:
            case "**/":
                expression += "(?:.*/)?"
            case "**":
                expression += ".*"
            case "*":
                expression += "[^/]*"
            case "?":
                expression += "[^/]"
            case _ if token.startswith("["):
                expression += token
            case _:
                expression += re.escape(token)
    return expression
