"""A cluster with a node runs pods as production would: Services, names, probes, volumes, exec, logs, port-forward.

The pods are the project's own services image, which so is shown to come up without root and with a read-only root.
"""

import json
import re
import smtplib
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.commands import mortal
from tests.cluster.poll import until

pytestmark = [pytest.mark.pods, pytest.mark.timeout(600)]

SERVICES = Path(__file__).parents[1] / "cluster" / "images" / "services"


@pytest.fixture(scope="session")
def image(pod_cluster: Cluster) -> str:
    return pod_cluster.build_image("workerpool-services:test", SERVICES / "Dockerfile", SERVICES)


def manifest(name: str, image: str, args: list[str], port: int) -> str:
    """A pod under the restricted pod security standard, and its Service."""
    return textwrap.dedent(
        f"""\
        apiVersion: v1
        kind: Pod
        metadata: {{name: {name}, labels: {{app: {name}}}}}
        spec:
          securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
          terminationGracePeriodSeconds: 1
          containers:
            - name: main
              image: {image}
              imagePullPolicy: IfNotPresent
              args: {json.dumps(args)}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {{drop: [ALL]}}
              ports: [{{containerPort: {port}}}]
              readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}
              livenessProbe: {{tcpSocket: {{port: {port}}}, initialDelaySeconds: 30}}
              env: [{{name: RABBITMQ_DEFAULT_USER, value: test}}, {{name: RABBITMQ_DEFAULT_PASS, value: secret}}]
              volumeMounts: [{{name: data, mountPath: /data}}, {{name: tmp, mountPath: /tmp}}]
          volumes: [{{name: data, emptyDir: {{}}}}, {{name: tmp, emptyDir: {{}}}}]
        ---
        apiVersion: v1
        kind: Service
        metadata: {{name: {name}}}
        spec: {{selector: {{app: {name}}}, ports: [{{name: main, port: {port}}}]}}
        """
    )


def run_pod(cluster: Cluster, namespace: str, name: str, image: str, args: list[str], port: int) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=manifest(name, image, args, port))
    cluster.wait(f"pod/{name}", "condition=Ready", namespace=namespace)


def in_pod(cluster: Cluster, namespace: str, pod: str, *command: str) -> str:
    return cluster.kubectl("exec", "-n", namespace, pod, "--", *command)


def test_redis_is_reached_by_service_name_from_another_pod(pod_cluster: Cluster, namespace: str, image: str) -> None:
    run_pod(pod_cluster, namespace, "redis", image, ["redis"], 6379)
    run_pod(pod_cluster, namespace, "client", image, ["redis", "--port", "7000"], 7000)

    for host in ("redis", f"redis.{namespace}", f"redis.{namespace}.svc.cluster.local"):
        assert in_pod(pod_cluster, namespace, "client", "redis-cli", "-h", host, "ping") == "PONG\n"


def test_a_pod_reaches_itself_through_its_service(pod_cluster: Cluster, namespace: str, image: str) -> None:
    run_pod(pod_cluster, namespace, "redis", image, ["redis"], 6379)

    assert in_pod(pod_cluster, namespace, "redis", "redis-cli", "-h", "redis", "ping") == "PONG\n"


def test_names_that_do_not_exist_are_refused_at_once(pod_cluster: Cluster, namespace: str, image: str) -> None:
    run_pod(pod_cluster, namespace, "client", image, ["redis"], 6379)

    answer = in_pod(pod_cluster, namespace, "client", "sh", "-c", "getent hosts no.such.example || echo unknown")

    assert answer == "unknown\n"


def test_mails_that_another_pod_sends_are_stored(pod_cluster: Cluster, namespace: str, image: str) -> None:
    run_pod(pod_cluster, namespace, "smtp", image, ["smtp"], 1025)
    run_pod(pod_cluster, namespace, "client", image, ["redis"], 6379)
    send = (
        "import smtplib; smtplib.SMTP('smtp', 1025, timeout=10).sendmail("
        "'a@example.com', ['b@example.com', 'c@example.com'], 'Subject: hello\\r\\n\\r\\nworld\\r\\n')"
    )

    in_pod(pod_cluster, namespace, "client", "python3", "-c", send)

    mails = in_pod(pod_cluster, namespace, "smtp", "sh", "-c", "cat /data/mail/*.eml")
    assert "X-Envelope-To: b@example.com, c@example.com" in mails
    assert "Subject: hello" in mails


def test_rabbitmq_lets_the_given_user_in_from_another_pod(pod_cluster: Cluster, namespace: str, image: str) -> None:
    run_pod(pod_cluster, namespace, "rabbitmq", image, ["rabbitmq"], 15672)
    run_pod(pod_cluster, namespace, "client", image, ["redis"], 6379)
    ask = (
        "import urllib.request as r; q = r.Request('http://rabbitmq:15672/api/overview', headers="
        "{'Authorization': 'Basic dGVzdDpzZWNyZXQ='}); print(r.urlopen(q, timeout=5).read().decode())"
    )

    overview = json.loads(in_pod(pod_cluster, namespace, "client", "python3", "-c", ask))

    assert overview["rabbitmq_version"].startswith("3.")
    assert {listener["port"] for listener in overview["listeners"]} >= {5672, 15672}


def test_logs_and_port_forward_reach_a_pod(pod_cluster: Cluster, namespace: str, image: str) -> None:
    run_pod(pod_cluster, namespace, "smtp", image, ["smtp"], 1025)

    assert pod_cluster.kubectl("logs", "-n", namespace, "smtp") == "listening on 1025\n"
    words = ["kubectl", "port-forward", "-n", namespace, "pod/smtp", ":1025"]
    with subprocess.Popen(mortal(words), env=pod_cluster.env(), stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout
            port = re.search(r":(\d+) ->", forward.stdout.readline())
            assert port
            with smtplib.SMTP("127.0.0.1", int(port[1]), timeout=10) as server:
                assert server.noop()[0] == 250
        finally:
            forward.terminate()


def test_a_service_account_of_a_pod_is_known_to_the_api(pod_cluster: Cluster, namespace: str, image: str) -> None:
    run_pod(pod_cluster, namespace, "client", image, ["redis"], 6379)
    ask = textwrap.dedent(
        """
        import json, ssl, urllib.request as r
        folder = '/var/run/secrets/kubernetes.io/serviceaccount/'
        body = {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'}
        q = r.Request('https://kubernetes.default/apis/authentication.k8s.io/v1/selfsubjectreviews',
                      json.dumps(body).encode(), {'Content-Type': 'application/json',
                      'Authorization': 'Bearer ' + open(folder + 'token').read()})
        tls = ssl.create_default_context(cafile=folder + 'ca.crt')
        print(r.urlopen(q, context=tls, timeout=5).read().decode())
        """
    )

    review = json.loads(in_pod(pod_cluster, namespace, "client", "python3", "-c", ask))

    assert review["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"


def test_secrets_config_maps_and_host_paths_are_mounted(pod_cluster: Cluster, namespace: str, image: str) -> None:
    pod_cluster.kubectl("create", "-n", namespace, "secret", "generic", "s", "--from-literal=word=hidden")
    pod_cluster.kubectl("create", "-n", namespace, "configmap", "c", "--from-literal=word=open")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "args": ["sh", "-c", "cat /s/word /c/word; test -d /h/share && echo +host"],
                    "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in "sch"],
                }
            ],
            "volumes": [
                {"name": "s", "secret": {"secretName": "s"}},
                {"name": "c", "configMap": {"name": "c"}},
                {"name": "h", "hostPath": {"path": "/usr"}},
            ],
        },
    }

    pod_cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(pod))
    pod_cluster.wait("pod/reader", "jsonpath={.status.phase}=Succeeded", namespace=namespace)

    assert pod_cluster.kubectl("logs", "-n", namespace, "reader") == "hiddenopen+host\n"


def test_a_deployment_is_scaled_up_and_down(pod_cluster: Cluster, namespace: str, image: str) -> None:
    def pods() -> int:
        return len(pod_cluster.kubectl("get", "-n", namespace, "pods", "-o", "name").split())

    words = ("deployment", "d", f"--image={image}", "--", "redis-server", "--save", "")
    pod_cluster.kubectl("create", "-n", namespace, *words)
    pod_cluster.wait("deployment/d", "condition=Available", namespace=namespace)
    pod_cluster.kubectl("scale", "-n", namespace, "deployment/d", "--replicas=3")
    pod_cluster.wait("deployment/d", "jsonpath={.status.readyReplicas}=3", namespace=namespace)
    pod_cluster.kubectl("scale", "-n", namespace, "deployment/d", "--replicas=1")

    until(lambda: pods() == 1, "the pods to end", timeout=60)
