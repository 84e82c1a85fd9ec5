"""The command line: `workerpool-operator run` and `workerpool-operator crds`.

Comes in: arguments and the environment. Goes out: a running operator, or CRDs on standard output or in files.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from workerpool_operator.api.crd import crd_files, crd_yaml
from workerpool_operator.api.meta import Kind
from workerpool_operator.logs import configure_logs
from workerpool_operator.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="workerpool-operator", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "run",
        help="run the operator",
        epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    crds = commands.add_parser("crds", help="print the CustomResourceDefinitions")
    where = crds.add_mutually_exclusive_group()
    where.add_argument("--write", action="store_true", help="write them into the checkout in the current folder")
    where.add_argument("--check", action="store_true", help="fail when the checkout's files differ from the models")
    options = parser.parse_args(arguments)
    if options.command == "run":
        return _run()
    return _crds(write=options.write, check=options.check)


def _settings_help() -> str:
    lines = ["environment variables:"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory else f" (default {field.default!r})"
        lines.append(f"  WORKERPOOL_{name.upper()}: {field.description}{default}")
    return "\n".join(lines)


def _run() -> int:
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            variable = f"WORKERPOOL_{str(problem['loc'][0]).upper()}"
            print(f"{variable}={problem.get('input')!r}: {problem['msg']}", file=sys.stderr)
        return 2
    configure_logs(settings.log_level, settings.log_format)
    # Imported late: kopf takes half a second, which `crds` need not wait for.
    from workerpool_operator.cluster import NoClusterError  # noqa: PLC0415
    from workerpool_operator.run import run  # noqa: PLC0415

    try:
        asyncio.run(run(settings))
    except NoClusterError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _crds(*, write: bool, check: bool) -> int:
    if not write and not check:
        print("---\n".join(crd_yaml(kind) for kind in get_args(Kind)), end="")
        return 0
    stale = {path: text for path, text in crd_files(Path()).items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if check:
            print(f"{path} differs from the models; run `make generate`", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path}")
    return 1 if check and stale else 0
