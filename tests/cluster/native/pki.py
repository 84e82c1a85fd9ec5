"""The keys and certificates of a native cluster, and the kubeconfigs that carry them.

A folder and the API server's addresses come in; `ca.crt`, one key and certificate for each identity, the service
account key and one kubeconfig for each client go out. Made by openssl, which ca-certificates brings along.
"""

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster.commands import run

CONFIG = "[req]\ndistinguished_name = name\n[name]\n"
EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """A certificate authority in a folder; what it issues lies beside it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.ca = folder / "ca.crt"
        (folder / "openssl.cnf").write_text(CONFIG)
        self._openssl("ca", "/CN=workerpool-ca", ("basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign,cRLSign"))
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "service-account.key")
        run(
            *("openssl", "ec", "-pubout", "-in", folder / "service-account.key"),
            *("-out", folder / "service-account.pub"),
        )

    def issue(self, subjects: dict[str, str], server: str, names: tuple[str, ...]) -> None:
        """Issues certificates.

        Args:
            subjects: file name to subject, say `{"admin": "/O=system:masters/CN=admin"}`; all are client certificates.
            server: the one of them that is also a server's.
            names: the server's subjectAltNames, say `IP:127.0.0.1`.
        """

        def issue_one(item: tuple[str, str]) -> None:
            name, subject = item
            usage = "clientAuth,serverAuth" if name == server else "clientAuth"
            extensions = [
                "basicConstraints=critical,CA:FALSE",
                "keyUsage=critical,digitalSignature",
                f"extendedKeyUsage={usage}",
            ]
            if name == server:
                extensions.append(f"subjectAltName={','.join(names)}")
            self._openssl(name, subject, tuple(extensions), "-CA", str(self.ca), "-CAkey", str(self.folder / "ca.key"))

        with ThreadPoolExecutor() as pool:
            list(pool.map(issue_one, subjects.items()))

    def kubeconfig(self, name: str, server: str, path: Path) -> Path:
        """Writes the kubeconfig of an identity, self-contained so that it may be copied, and returns its path."""
        path.touch(mode=0o600)
        path.write_text(
            KUBECONFIG.format(
                server=server,
                ca=_inline(self.ca),
                certificate=_inline(self.folder / f"{name}.crt"),
                key=_inline(self.folder / f"{name}.key"),
            )
        )
        return path

    def _openssl(self, name: str, subject: str, extensions: tuple[str, ...], *more: str) -> None:
        folder = self.folder
        outputs = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
        words = [word for extension in extensions for word in ("-addext", extension)]
        request = ["openssl", "req", "-x509", "-config", str(folder / "openssl.cnf"), "-days", "3650", *EC_KEY]
        run(*request, "-subj", subject, *outputs, *words, *more)


KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
  - name: workerpool
    cluster: {{server: "{server}", certificate-authority-data: {ca}}}
users:
  - name: workerpool
    user: {{client-certificate-data: {certificate}, client-key-data: {key}}}
contexts:
  - name: workerpool
    context: {{cluster: workerpool, user: workerpool, namespace: default}}
current-context: workerpool
"""


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
