"""What this machine lacks for a native cluster.

The machine comes in, the missing programs and rights go out, each with what would mend it.
"""

import os
import platform
import shutil
from pathlib import Path

PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "openssl": "openssl",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
}
CNI = Path("/usr/lib/cni")
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")


def missing_for_native() -> list[str]:
    """Returns what is missing for a native cluster, in words; nothing when one can be started."""
    lacks = []
    if platform.system() != "Linux" or not Path("/etc/debian_version").exists():
        lacks.append("Debian")
    elif os.geteuid():
        lacks.append("root")
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    packages = {package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)}
    if not (CNI / "ptp").exists():
        packages.add("containernetworking-plugins")
    if packages:
        lacks.append(f"the packages {' '.join(sorted(packages))} (`bash tests/setup.sh packages` installs them)")
    return lacks
