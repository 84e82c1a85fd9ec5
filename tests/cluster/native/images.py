"""Images without Docker: the same Dockerfiles, built by buildah on a base that is made from Debian packages.

A Dockerfile and its context come in, an archive in the cache goes out, keyed by all that the build can see.
Everything lies in the cache folder, nothing in the user's own container storage; builds run in a mount namespace of
their own, so that a killed one leaves no mounts behind.
"""

import os
import platform
import shutil
import time
from pathlib import Path

from tests.cluster.cache import artefacts, cache_dir, digest
from tests.cluster.commands import run, run_long
from tests.cluster.context import context_digest, ignore_file
from tests.cluster.native import machine

RELEASE = "bookworm"
BASE = f"debian:{RELEASE}-slim"
LOCAL = "localhost/"  # where a name without a registry is looked for first
BASE_RECIPE = "3"  # goes up when the base is made differently
# What Debian's own slim images leave out.
SLIM = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/lintian/*")
REMOVED = ("etc/apt/apt.conf.d/99mmdebstrap", "etc/hostname", "etc/resolv.conf", "var/cache/apt/*.bin")
APT_SETTINGS = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
APT::AutoRemove::SuggestsImportant "false";
"""
KEPT_ARCHIVES = 6
UNUSED_SECONDS = 600
MOST_LAYERS = 200
OWN_MOUNTS = ("unshare", "--mount", "--propagation=private", "sh", "-ec")
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


def image_archive(tag: str, dockerfile: Path, context: Path) -> Path:
    """Returns a docker-archive of the image, built now unless the same content was built before."""
    key = f"{digest(tag, context_digest(dockerfile, context), BASE_RECIPE)}-{platform.machine()}"
    home = cache_dir() / "images"

    def build(missing: list[str], workshop: Path) -> None:
        (workshop / missing[0]).mkdir()
        _forget_old(home)
        _build(tag, dockerfile, context, workshop / missing[0] / "image.tar")

    folder = artefacts(home.name, [key], build)[key]
    os.utime(folder)
    return folder / "image.tar"


def _forget_old(home: Path) -> None:
    """Removes archives of old states of the tree, and all layers once there are many; the caller holds the lock."""
    by_use = sorted(home.glob("[!.]*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in by_use[KEPT_ARCHIVES:]:
        if folder.stat().st_mtime < time.time() - UNUSED_SECONDS:
            shutil.rmtree(folder)
    layers = _storage() / "root" / "overlay"
    if layers.exists() and len(list(layers.iterdir())) > MOST_LAYERS:
        shutil.rmtree(_storage())


def _build(tag: str, dockerfile: Path, context: Path, archive: Path) -> None:
    """Builds into `archive`; the caller holds the lock of all images."""
    # Only a build that failed or was killed leaves a working container behind.
    run(*_in_own_mounts(["rm", "--all"]), env=_environment())
    _provide_base(archive.parent)
    options = machine.write(archive.parent / "machine", RELEASE)
    if ignore := ignore_file(dockerfile, context):
        options += ["--ignorefile", str(ignore)]
    _buildah(_bud(tag, dockerfile, context, *options), f"building the image {tag}", expected_seconds=90)
    _buildah(
        ["push", LOCAL + tag, f"docker-archive:{archive}:{tag}"], f"exporting the image {tag}", expected_seconds=10
    )
    for path in (archive.parent / "machine").iterdir():
        path.unlink()
    (archive.parent / "machine").rmdir()


def _provide_base(workshop: Path) -> None:
    """Puts the base into buildah's storage unless it is there."""
    marker = _storage() / f"base-{BASE_RECIPE}"
    if marker.exists():
        return
    root = _base_archive()
    recipe = workshop / "Base.Dockerfile"
    recipe.write_text(f'FROM scratch\nADD {root.name} /\nCMD ["bash"]\n')
    _buildah(_bud(BASE, recipe, root.parent), f"importing {BASE}", expected_seconds=5)
    recipe.unlink()
    marker.touch()


def _base_archive() -> Path:
    """Returns a tar of a minimal Debian, installed from the machine's own package sources."""
    key = f"{RELEASE}-{platform.machine()}-{BASE_RECIPE}"

    def build(missing: list[str], workshop: Path) -> None:
        folder = workshop / missing[0]
        folder.mkdir()
        (workshop / "apt-settings").write_text(APT_SETTINGS)
        emptied = " ".join(f'"$1/etc/{name}"' for name in ("apt/sources.list", "apt/apt.conf", "pip.conf"))
        words = [
            *("mmdebstrap", "--mode=root", "--variant=minbase"),
            *("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--include=usr-is-merged"),
            *(f"--dpkgopt=path-exclude={path}" for path in SLIM),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            *(f"--aptopt={line}" for line in machine.apt_settings() if machine.MOUNT not in line),
            f"--customize-hook=for file in {emptied}; do : >$file; done",
            f'--customize-hook=cd "$1" && rm -f {" ".join(REMOVED)}',
            f"--customize-hook=upload {workshop / 'apt-settings'} /etc/apt/apt.conf.d/slim",
            *(RELEASE, str(folder / "root.tar"), *machine.apt_sources(RELEASE)),
        ]
        run_long([*OWN_MOUNTS, 'exec "$@"', "sh", *words], f"making {BASE}", expected_seconds=25)

    return artefacts("base", [key], build)[key] / "root.tar"


def _bud(tag: str, dockerfile: Path, context: Path, *options: str) -> list[str]:
    common = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers", "--format", "docker"]
    return ["bud", *common, *options, "--tag", LOCAL + tag, "--file", str(dockerfile), str(context)]


def _storage() -> Path:
    return cache_dir() / "buildah"


def _buildah(words: list[str], what: str, *, expected_seconds: int) -> None:
    run_long(_in_own_mounts(words), what, expected_seconds=expected_seconds, env=_environment())


def _in_own_mounts(words: list[str]) -> list[str]:
    storage = _storage()
    (storage / "run").mkdir(parents=True, exist_ok=True)
    policy = storage / "policy.json"
    policy.write_text(POLICY)
    buildah = ["buildah", "--root", str(storage / "root"), "--runroot", str(storage / "run"), words[0]]
    if words[0] != "rm":
        buildah += ["--signature-policy", str(policy)]
    buildah += words[1:]
    return [*OWN_MOUNTS, 'mount -t tmpfs tmpfs "$1"; shift; exec "$@"', "sh", str(storage / "run"), *buildah]


def _environment() -> dict[str, str]:
    return os.environ | {"STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(_storage())}
