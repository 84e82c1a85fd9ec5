"""The values of the chart as a table: read from the comments of values.yaml, shown in the chart's README.

    python -m tests.chart.values_table --write

writes the table between the two marks of README.md; a test holds the README to it.
"""

import argparse
import json
import re
from dataclasses import dataclass
from typing import Any

import yaml

from tests.chart.rendering import CHART

VALUES = CHART / "values.yaml"
README = CHART / "README.md"
BEGIN = "<!-- values: written by `python -m tests.chart.values_table --write` -->"
END = "<!-- end of values -->"
KEY = re.compile(r"^( *)([A-Za-z]+):")


@dataclass(frozen=True, slots=True)
class Value:
    """One documented value: its dotted path, its default, and the sentence above it."""

    path: str
    default: Any
    description: str


def values() -> dict[str, Any]:
    """Returns the chart's default values."""
    loaded: dict[str, Any] = yaml.safe_load(VALUES.read_text())
    return loaded


def documented() -> list[Value]:
    """Returns each key of values.yaml that has a comment right above it."""
    found: list[Value] = []
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in VALUES.read_text().splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.removeprefix("#").strip())
            continue
        if key := KEY.match(line):
            indent = len(key[1])
            parents = [parent for parent in parents if parent[0] < indent] + [(indent, key[2])]
            if comment:
                path = [name for _, name in parents]
                found.append(Value(".".join(path), _at(path), " ".join(comment)))
        comment = []
    return found


def _at(path: list[str]) -> Any:
    value: Any = values()
    for name in path:
        value = value[name]
    return value


def undocumented() -> list[str]:
    """Returns the leaves of values.yaml that neither have a comment nor lie under a key that has one."""
    known = {value.path for value in documented()}

    def leaves(node: Any, path: str) -> list[str]:
        if path in known:
            return []
        if isinstance(node, dict) and node:
            return [leaf for key, child in node.items() for leaf in leaves(child, f"{path}.{key}".lstrip("."))]
        return [path]

    return leaves(values(), "")


def table() -> str:
    """Returns the Markdown table of all documented values."""
    rows = ["| value | default | |", "|---|---|---|"]
    for value in documented():
        default = json.dumps(value.default).replace("|", "\\|")
        rows.append(f"| `{value.path}` | `{default}` | {value.description.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def written(readme: str) -> str:
    """Returns the README with the table of now between its marks."""
    head, _, rest = readme.partition(BEGIN)
    _, _, end = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{end}"


def main() -> None:
    """Write the table into the README, or say whether it is in date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="write the README in place of comparing it")
    readme = README.read_text()
    if parser.parse_args().write:
        README.write_text(written(readme))
    elif readme != written(readme):
        raise SystemExit("the chart's README is out of date: run `python -m tests.chart.values_table --write`")


if __name__ == "__main__":
    main()
