"""The manifests: pods as closed as the chart's, pools that fit their Deployments, and an API server that takes all."""

import re
from collections.abc import Iterator

import pytest
import yaml

from tests.chart.rendering import CHART, ROOT, Object, assert_restricted, containers, of_kind
from tests.cluster import Cluster, control_plane
from tests.cluster.poll import until
from workerpool_operator.settings import Settings as OperatorSettings
from workerpool_worker.settings import Settings as WorkerSettings

MANIFESTS = ROOT / "manifests"
POOLS = ("email", "image", "video")
DEMO = "workerpool-demo"


def _objects() -> Iterator[Object]:
    for path in sorted(MANIFESTS.glob("*/*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())


OBJECTS = list(_objects())
DEPLOYMENTS = of_kind(OBJECTS, "Deployment")
PODS = DEPLOYMENTS + of_kind(OBJECTS, "Pod")


def name_of(item: Object) -> str:
    name: str = item["metadata"]["name"]
    return name


def named(kind: str, name: str) -> Object:
    (found,) = [item for item in of_kind(OBJECTS, kind) if name_of(item) == name]
    return found


def pod_of(item: Object) -> Object:
    spec: Object = item["spec"] if item["kind"] == "Pod" else item["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("item", PODS, ids=name_of)
def test_pods_are_closed_and_bounded(item: Object) -> None:
    pod = pod_of(item)
    assert_restricted(pod)
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for container in containers(pod):
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("item", DEPLOYMENTS, ids=name_of)
def test_deployments_have_probes(item: Object) -> None:
    for container in containers(pod_of(item)):
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    labels = item["spec"]["template"]["metadata"]["labels"].items()
    assert item["spec"]["selector"]["matchLabels"].items() <= labels


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_fits_its_deployment(name: str) -> None:
    pool, deployment = named("WorkerPool", name)["spec"], named("Deployment", f"{name}-worker")
    assert pool["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{name}-worker"}
    assert "replicas" not in deployment["spec"], "replicas belong to the operator"
    (queue,) = pool["queues"]
    (container,) = containers(pod_of(deployment))
    environment = {item["name"]: item.get("value") or item["valueFrom"] for item in container["env"]}
    assert environment["WORKER_QUEUE"] == (queue.get("redisList", {}).get("key") or queue["rabbitmq"]["queue"])
    broker = next(iter(named("QueueBroker", queue["brokerRef"]["name"])["spec"].values()))
    assert environment["WORKER_BROKER_URL"] == broker["urlFrom"]
    assert {f"WORKER_{field.upper()}" for field in WorkerSettings.model_fields} >= set(environment)
    patience = pod_of(deployment)["terminationGracePeriodSeconds"]
    assert patience == int(environment["WORKER_JOB_TIMEOUT"]) + 60


def test_secrets_that_are_named_are_there() -> None:
    secrets = {name_of(item): set(item["stringData"]) for item in of_kind(OBJECTS, "Secret")}
    for item in PODS:
        for container in containers(pod_of(item)):
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["key"] in secrets[reference["name"]]


def test_all_pools_at_their_most_fit_a_node_of_two_cpus() -> None:
    def millicores(text: str) -> int:
        return int(text.removesuffix("m")) if text.endswith("m") else int(text) * 1000

    most = {f"{name}-worker": named("WorkerPool", name)["spec"]["maxReplicas"] for name in POOLS}
    needed = 2 * millicores(yaml.safe_load((CHART / "values.yaml").read_text())["resources"]["requests"]["cpu"])
    for item in PODS:
        for container in containers(pod_of(item)):
            needed += most.get(name_of(item), 1) * millicores(container["resources"]["requests"]["cpu"])
    assert needed <= 1800, "the rest is the system's"


def test_the_chart_sets_only_variables_that_the_operator_reads() -> None:
    template = (CHART / "templates" / "deployment.yaml").read_text()
    given = set(re.findall(r"name: (WORKERPOOL_\w+)", template))
    assert given <= {f"WORKERPOOL_{field.upper()}" for field in OperatorSettings.model_fields}
    assert len(given) >= 9


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with control_plane() as cluster:
        yield cluster


@pytest.mark.apiserver
def test_one_command_brings_the_demonstration_and_one_takes_it_away(cluster: Cluster) -> None:
    cluster.kubectl("apply", "--filename", str(ROOT / "crds"))
    cluster.wait("crd/workerpools.workerpool.dev", "condition=Established")
    cluster.kubectl("apply", "--kustomize", str(MANIFESTS / "demo"))

    def admitted() -> bool:
        pods = cluster.kubectl("get", "pods", "--namespace", DEMO, "--output", "name").split()
        return len(pods) == len(PODS)

    until(admitted, f"{len(PODS)} pods that pass the PodSecurity level restricted", timeout=60)
    cluster.wait("pvc/media", "jsonpath={.status.phase}=Bound", namespace=DEMO)
    cluster.kubectl("scale", "deployment/video-worker", "--replicas=3", "--namespace", DEMO)
    cluster.kubectl("apply", "--kustomize", str(MANIFESTS / "demo"))
    replicas = ("get", "deployment/video-worker", "--namespace", DEMO, "--output", "jsonpath={.spec.replicas}")
    assert cluster.kubectl(*replicas) == "3", "applied again, the manifests must leave the replicas alone"
    cluster.kubectl("delete", "--kustomize", str(MANIFESTS / "demo"), "--wait=false")
