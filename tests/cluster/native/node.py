"""The node of a native cluster: containerd, kubelet, kube-proxy and DNS as programs in the cluster's namespaces.

The cluster's folder, binaries, keys and addresses come in; configuration files and the programs go out, and what has
to be in the API before pods can use DNS. Pods get a cable each to the node (the CNI plugin `ptp`), so every packet
is routed and Services need no bridge netfilter.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.commands import run
from tests.cluster.doctor import CNI, SYSTEM_FOLDERS
from tests.cluster.errors import ClusterError
from tests.cluster.native.control_plane import PORT, server
from tests.cluster.native.network import Slot
from tests.cluster.native.pki import Authority
from tests.cluster.native.state import Program

NAME = "node"
PAUSE = "localhost/pause:local"
SUBJECTS = {
    "kubelet": f"/O=system:nodes/CN=system:node:{NAME}",
    "kube-proxy": "/CN=system:kube-proxy",
    "coredns": "/CN=system:coredns",
}
# Programs keep fixed places here, each cluster sees its own.
PRIVATE = ("/var/lib", "/var/log")
# The kubelet wants these values; a file in their place spares the machine a lasting change.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
SOCKET_PATH_MAXIMUM = 107
DNS_READY_PORT = 8181


def cgroup(slot: Slot) -> str:
    """Returns the name of the cgroup beneath which pods run."""
    return slot.device


def socket(folder: Path) -> Path:
    """Returns containerd's socket, which is reachable from outside of the namespaces too."""
    return folder / "containerd.sock"


def inside(folder: Path, slot: Slot) -> list[list[str]]:
    """Returns the commands that prepare the namespaces for a node."""
    _check_place(folder)
    commands = [["mount", "--make-rshared", "/"], ["mount", "-t", "tmpfs", "tmpfs", "/run"]]
    for place in PRIVATE:
        own = folder / "private" / place.strip("/").replace("/", "-")
        own.mkdir(parents=True)
        commands.append(["mount", "--bind", str(own), place])
    for name, value in KERNEL_SETTINGS.items():
        own = folder / "private" / name.replace("/", "-")
        own.write_text(f"{value}\n")
        commands.append(["mount", "--bind", str(own), f"/proc/sys/{name}"])
    return [*commands, ["sh", "-ec", CGROUP_SCRIPT, "sh", cgroup(slot)]]


CGROUP_SCRIPT = """
cd /sys/fs/cgroup
if [ -e cgroup.controllers ]; then
    for controller in cpuset cpu io memory pids; do echo "+$controller" >cgroup.subtree_control || true; done
    mkdir "$1"
    exit
fi
for hierarchy in */; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir -p "$hierarchy/$1"
    for file in cpuset.cpus cpuset.mems; do
        if [ -e "$hierarchy/$file" ]; then cat "$hierarchy/$file" >"$hierarchy/$1/$file"; fi
    done
done
"""


def programs(folder: Path, binaries: dict[str, Path], keys: Authority, slot: Slot) -> list[Program]:
    """Returns the node's programs in the order in which they start."""
    configs = folder / "node"
    (configs / "cni").mkdir(parents=True)
    (configs / "cni" / "10-pods.conflist").write_text(json.dumps(_cni(folder, slot)))
    (configs / "containerd.toml").write_text(_containerd(folder))
    (configs / "resolv.conf").write_text(f"nameserver {slot.dns}\n")
    (configs / "kubelet.json").write_text(json.dumps(_kubelet(folder, keys, slot)))
    clients = {name: keys.kubeconfig(name, server(slot), configs / f"{name}.kubeconfig") for name in SUBJECTS}
    (configs / "kube-proxy.json").write_text(json.dumps(_kube_proxy(clients["kube-proxy"], slot)))
    (configs / "Corefile").write_text(
        COREFILE.format(address=slot.node, port=DNS_READY_PORT, kubeconfig=clients["coredns"])
    )
    api = f"{slot.node}:{PORT}"
    path = {"PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])}
    return [
        Program("containerd", ["containerd", "--config", str(configs / "containerd.toml")], env=path),
        Program(
            "kubelet",
            [
                str(binaries["kubelet"]),
                f"--config={configs / 'kubelet.json'}",
                f"--kubeconfig={clients['kubelet']}",
                f"--hostname-override={NAME}",
                f"--node-ip={slot.node}",
                f"--root-dir={folder / 'kubelet'}",
                f"--cert-dir={folder / 'kubelet-pki'}",
            ],
            after=api,
            env=path,
        ),
        Program("kube-proxy", [str(binaries["kube-proxy"]), f"--config={configs / 'kube-proxy.json'}"], api, path),
        Program("coredns", [str(binaries["coredns"]), "-conf", str(configs / "Corefile")], api),
    ]


def ready(get: Callable[[str], bytes | None]) -> bool:
    """Tells, by the API, whether the node takes pods."""
    answer = get(f"/api/v1/nodes/{NAME}")
    conditions = json.loads(answer)["status"].get("conditions", []) if answer else []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def furnish(cluster: Cluster, folder: Path, pause: Path) -> None:
    """Gives a node that is ready the sandbox image, and the cluster its DNS Service."""
    import_image(folder, pause)
    facts = json.loads((folder / "cluster.json").read_text())
    cluster.kubectl("apply", "-f", "-", input=DNS.format(dns=facts["dns"], node=facts["node"]))


def import_image(folder: Path, archive: Path) -> None:
    """Makes the image of an archive available to pods."""
    run("ctr", "--address", socket(folder), "--namespace", "k8s.io", "images", "import", archive, timeout=180)


def _check_place(folder: Path) -> None:
    if any(folder.is_relative_to(place) for place in (*PRIVATE, "/run", "/proc", "/sys")):
        raise ClusterError(f"a cluster cannot keep its state in {folder}: set WORKERPOOL_CACHE to another folder")
    if len(str(socket(folder))) > SOCKET_PATH_MAXIMUM:
        raise ClusterError(f"{folder} is too long a path for a socket: set WORKERPOOL_CACHE to a shorter one")


def _cni(folder: Path, slot: Slot) -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "dataDir": str(folder / "cni"),
        "ranges": [[{"subnet": str(slot.pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}]}


def _containerd(folder: Path) -> str:
    return CONTAINERD.format(
        folder=folder, socket=socket(folder), pause=PAUSE, cni=CNI, runc=shutil.which("runc") or "/usr/sbin/runc"
    )


# restrict_oom_score_adj: without CAP_SYS_RESOURCE, scores cannot be lowered, and containers would not start.
CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/node/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
"""


def _kubelet(folder: Path, keys: Authority, slot: Slot) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(keys.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup(slot)}",
        "clusterDNS": [slot.dns],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{socket(folder)}",
        # The disk is the developer's: a full one is no reason to evict pods or to delete images.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "maxPods": 200,
        "podLogsDir": str(folder / "pod-logs"),
        "resolvConf": str(folder / "node" / "resolv.conf"),
        "serializeImagePulls": False,
    }


def _kube_proxy(kubeconfig: Path, slot: Slot) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": str(slot.pods),
        "detectLocalMode": "ClusterCIDR",
        "hostnameOverride": NAME,
        # Limits of connection tracking belong to the whole machine, not to a namespace.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "100ms"},
    }


# Names outside of the cluster do not exist: a sure answer is quicker than a search for a way out.
COREFILE = """\
cluster.local in-addr.arpa ip6.arpa {{
    bind {address}
    errors
    ready {address}:{port}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
}}
. {{
    bind {address}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""

DNS = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: "system:coredns"}}
rules:
  - {{apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}}
  - {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: "system:coredns"}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:coredns"}}]
---
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system, labels: {{k8s-app: kube-dns}}}}
spec:
  clusterIP: {dns}
  ports:
    - {{name: dns, port: 53, protocol: UDP}}
    - {{name: dns-tcp, port: 53, protocol: TCP}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kube-dns
  namespace: kube-system
  labels: {{kubernetes.io/service-name: kube-dns, endpointslice.kubernetes.io/managed-by: workerpool.dev}}
addressType: IPv4
ports:
  - {{name: dns, port: 53, protocol: UDP}}
  - {{name: dns-tcp, port: 53, protocol: TCP}}
endpoints: [{{addresses: ["{node}"], conditions: {{ready: true}}}}]
"""
