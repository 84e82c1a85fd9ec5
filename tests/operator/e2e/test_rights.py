"""The rights that the chart gives are enough, and are all that the operator uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster import Cluster
from tests.running.fixtures import ROOT, StartOperator
from tests.running.space import Space, redis_queue, url_from
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.servers]

_CHART = ROOT / "charts" / "workerpool-operator"


@contextmanager
def _rights_of_chart(cluster: Cluster, space: Space, folder: Path, *values: str) -> Iterator[Path]:
    """Install the service account and the rights of the chart; a kubeconfig with that account's token."""
    arguments = ["--kube-version=1.34", *(f"--set={value}" for value in ("fullnameOverride=operator", *values))]
    manifest = cluster.helm("template", space.name, str(_CHART), "--namespace", space.name, *arguments)
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    documents = [document for document in yaml.safe_load_all(manifest) if document and document["kind"] in kinds]
    rights = yaml.safe_dump_all(documents)
    cluster.kubectl("apply", "--namespace", space.name, "-f", "-", input=rights)
    try:
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        token = cluster.kubectl("create", "token", "operator", "--namespace", space.name).strip()
        for user in config["users"]:
            user["user"] = {"token": token}
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        yield path
    finally:
        cluster.kubectl("delete", "--namespace", space.name, "--wait=false", "-f", "-", input=rights)


@pytest.mark.parametrize("restricted", [True, False], ids=["one-namespace", "whole-cluster"])
def test_the_chart_gives_all_the_rights_that_the_operator_needs(
    cluster_with_crds: Cluster,
    space: Space,
    start_operator: StartOperator,
    redis_server: RedisServer,
    tmp_path: Path,
    *,
    restricted: bool,
) -> None:
    values = [f"watchNamespaces[0]={space.name}"] if restricted else []
    with redis_server.client() as client:
        client.rpush("jobs", *range(4))
        client.set("broken", "no list")
    space.secret("login", url=redis_server.url)
    space.broker("media", {"redis": url_from("login")})
    for name in ("worker", "stuck"):
        space.deployment(name)
    space.deployment("db", kind="StatefulSet")
    space.pool("worker", redis_queue("jobs", ref="media"))
    space.pool("stuck", redis_queue("broken", ref="media"))
    space.pool("db", redis_queue("jobs", secret="login"), scaleTargetRef={"kind": "StatefulSet", "name": "db"})
    with _rights_of_chart(cluster_with_crds, space, tmp_path, *values) as kubeconfig:
        operator = start_operator(
            kubeconfig,
            namespaces=space.name if restricted else "",
            lease_name="operator",
            lease_namespace=space.name,
        )
        space.wait_replicas("worker", 4)
        space.wait_replicas("db", 4, kind="StatefulSet")
        space.wait_condition("worker", "True")
        space.wait_condition("stuck", "False", "WrongType")
        space.wait_condition("media", "True", kind="QueueBroker")
        space.wait_event("worker", "ScaledUp")
        assert operator.stop() == 0
        # As in: User "system:serviceaccount:..." cannot list resource "namespaces".
        assert " cannot " not in operator.log
        assert "Traceback" not in operator.log


def test_a_target_that_the_rights_leave_out_is_told(
    cluster_with_crds: Cluster, space: Space, start_operator: StartOperator, redis_server: RedisServer, tmp_path: Path
) -> None:
    with redis_server.client() as client:
        client.rpush("jobs", *range(4))
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "worker"}
    space.pool("worker", redis_queue("jobs", url=redis_server.url), scaleTargetRef=reference)
    with _rights_of_chart(cluster_with_crds, space, tmp_path) as kubeconfig:
        start_operator(kubeconfig, lease_name="operator", lease_namespace=space.name)
        told = space.wait_condition("worker", "False", "TargetForbidden")["message"]
        assert told.startswith("the operator may not scale ReplicaSet worker")
        assert "extraScaleTargets" in told
