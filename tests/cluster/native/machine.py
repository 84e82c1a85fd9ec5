"""How this machine reaches its package archives, for image builds that have to go the same way.

The machine's apt sources, proxies, certificate bundle and pip settings come in; a folder of files that are laid over
an image's own while it is built goes out. None of it stays in the image.
"""

import re
import shlex
import sys
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError

MOUNT = "/run/machine"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")


def apt_sources(release: str) -> list[str]:
    """Returns the one-line sources of Debian's own archive that the machine uses for `release`.

    Raises:
        ClusterError: it has none, or has never read their indexes.
    """
    format_ = "$(ORIGIN)|$(CODENAME)|$(SIGNED_BY)|$(REPO_URI)|$(SUITE)|$(RELEASE)|$(COMPONENT)"
    sources: dict[str, None] = {}
    for line in run("apt-get", "indextargets", "--format", format_, "Created-By: Packages").splitlines():
        origin, codename, key, uri, _, suite, component = line.split("|")
        if origin == "Debian" and codename.startswith(release):
            options = f"[signed-by={key}] " if key.startswith("/") else ""
            sources[f"deb {options}{uri} {suite} {component}"] = None
    if not sources:
        raise ClusterError(f"apt knows no sources of Debian {release} here: run `apt-get update`")
    return list(sources)


def write(folder: Path, release: str) -> list[str]:
    """Writes the files and returns buildah's options that lay them over an image during its build."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text("\n".join([*apt_sources(release), ""]))
    (folder / "apt.conf").write_text("\n".join([*apt_settings(), ""]))
    (folder / "pip.conf").write_text("\n".join(["[global]", *_pip_settings(), ""]))
    (folder / "ca.crt").write_bytes(BUNDLE.read_bytes())
    places = {
        "sources.list": "/etc/apt/sources.list",
        "apt.conf": "/etc/apt/apt.conf",
        "pip.conf": "/etc/pip.conf",
        "ca.crt": f"{MOUNT}/ca.crt",
    }
    return [word for name, place in places.items() for word in ("--volume", f"{folder / name}:{place}:ro")]


def apt_settings() -> list[str]:
    """Returns the lines of apt's configuration that say how to reach archives."""
    lines = [line for line in run("apt-config", "dump").splitlines() if re.match(r"Acquire::(http|https)::\S+ ", line)]
    kept = [line for line in lines if "CaInfo" not in line]
    return [*kept, f'Acquire::https::CaInfo "{MOUNT}/ca.crt";']


def _pip_settings() -> list[str]:
    settings = {"cert": f"{MOUNT}/ca.crt"}
    for line in sorted(run(sys.executable, "-m", "pip", "config", "list").splitlines(), reverse=True):
        name, _, value = line.partition("=")
        option = name.rsplit(".", 1)[-1]
        if option in PIP_SETTINGS:  # `global.` sorts before `:env:.` in reverse, so the environment wins as in pip
            settings[option] = " ".join(shlex.split(value)).replace("\\n", "\n    ")
    return [f"{name} = {value}" for name, value in settings.items()]
