"""The control plane of a native cluster: etcd, API server, controller manager and scheduler.

A folder with keys, the binaries and the cluster's addresses come in, the programs with their arguments go out.
"""

from pathlib import Path

from tests.cluster.native.network import Slot
from tests.cluster.native.pki import Authority
from tests.cluster.native.state import Program

PORT = 6443
ETCD = "127.0.0.1:2379"
SUBJECTS = {
    "apiserver": "/CN=kube-apiserver",
    "admin": "/O=system:masters/CN=admin",
    "apiserver-to-kubelet": "/O=system:masters/CN=kube-apiserver-kubelet-client",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
}


def server(slot: Slot) -> str:
    """Returns the URL of the API server, which the machine, the node and the pods reach."""
    return f"https://{slot.node}:{PORT}"


def issue(authority: Authority, slot: Slot, more: dict[str, str]) -> None:
    """Issues the certificates of the control plane, and `more` client certificates."""
    kubernetes = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    names = [f"DNS:{name}" for name in ("localhost", *kubernetes)]
    addresses = [f"IP:{address}" for address in ("127.0.0.1", slot.node, slot.api_service)]
    authority.issue(SUBJECTS | more, "apiserver", (*names, *addresses))


def programs(folder: Path, binaries: dict[str, Path], keys: Authority, slot: Slot) -> list[Program]:
    """Returns the programs in the order in which they start."""
    at, pki = f"{slot.node}:{PORT}", keys.folder
    clients = {
        name: keys.kubeconfig(name, server(slot), pki / f"{name}.kubeconfig")
        for name in ("controller-manager", "scheduler")
    }
    return [
        Program("etcd", _etcd(binaries["etcd"], folder)),
        Program("kube-apiserver", _apiserver(binaries["kube-apiserver"], pki, slot), after=ETCD),
        Program(
            "kube-controller-manager",
            _controllers(binaries["kube-controller-manager"], pki, clients["controller-manager"], slot),
            after=at,
        ),
        Program("kube-scheduler", _scheduler(binaries["kube-scheduler"], clients["scheduler"]), after=at),
    ]


def _etcd(binary: Path, folder: Path) -> list[str]:
    return [
        str(binary),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://{ETCD}",
        f"--advertise-client-urls=http://{ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",  # nothing here has to survive a power cut
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]


def _apiserver(binary: Path, pki: Path, slot: Slot) -> list[str]:
    return [
        str(binary),
        f"--etcd-servers=http://{ETCD}",
        f"--advertise-address={slot.node}",
        f"--secure-port={PORT}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-to-kubelet.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-to-kubelet.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-cluster-ip-range={slot.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--max-requests-inflight=3000",  # tests fill a cluster with 10,000 pools at once
        "--max-mutating-requests-inflight=1500",
        "--endpoint-reconciler-type=lease",
        "--shutdown-delay-duration=0s",
    ]


def _controllers(binary: Path, pki: Path, kubeconfig: Path, slot: Slot) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        f"--service-cluster-ip-range={slot.services}",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def _scheduler(binary: Path, kubeconfig: Path) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]
