"""What the chart makes: rights as small as they can be, pods closed, and every value where it belongs."""

from typing import Any

import pytest
import yaml

from tests.chart.rendering import (
    CHART,
    MAXIMAL,
    NAMESPACE,
    RELEASE,
    Object,
    assert_restricted,
    containers,
    of_kind,
    only,
    render,
)

NAME = f"{RELEASE}-workerpool-operator"
Right = tuple[str, str, str]


@pytest.fixture(scope="module")
def default() -> list[Object]:
    return render()


@pytest.fixture(scope="module")
def maximal() -> list[Object]:
    return render(MAXIMAL)


def rights(role: Object) -> set[Right]:
    """What a role permits, as (API group, resource, verb)."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def allowed(group: str, resources: str, verbs: str) -> set[Right]:
    return {(group, resource, verb) for resource in resources.split() for verb in verbs.split()}


def named(objects: list[Object], kind: str, name: str, namespace: str | None = None) -> Object:
    (found,) = [
        item
        for item in of_kind(objects, kind)
        if item["metadata"]["name"] == name and (not namespace or item["metadata"]["namespace"] == namespace)
    ]
    return found


def operator_pod(objects: list[Object]) -> Object:
    spec: Object = only(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def environment(objects: list[Object]) -> dict[str, Any]:
    (container,) = containers(operator_pod(objects))
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


WATCHED = (
    allowed("workerpool.dev", "workerpools queuebrokers", "get list watch")
    | allowed("workerpool.dev", "workerpools/status queuebrokers/status", "get patch")
    | allowed("apps", "deployments statefulsets", "get list watch")
    | allowed("apps", "deployments/scale statefulsets/scale", "get patch")
    | allowed("", "secrets", "get")
    | allowed("", "events", "create patch")
)


def test_rights_in_the_whole_cluster_are_exactly_these(default: list[Object]) -> None:
    assert rights(named(default, "ClusterRole", f"{NAMESPACE}:{NAME}")) == WATCHED


def test_rights_in_watched_namespaces_leave_the_cluster_alone(maximal: list[Object]) -> None:
    extra = allowed("argoproj.io", "rollouts", "get") | allowed("argoproj.io", "rollouts/scale", "get patch")
    assert of_kind(maximal, "ClusterRole") == of_kind(maximal, "ClusterRoleBinding") == []
    for namespace in ("media", "mail"):
        role = named(maximal, "Role", "queue-scaler", namespace)
        assert rights(role) == WATCHED | extra
        binding = named(maximal, "RoleBinding", "queue-scaler", namespace)
        assert binding["roleRef"]["name"] == "queue-scaler"
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "queue-scaler-account", "namespace": NAMESPACE}
        ]


def test_secrets_can_be_held_to_names(maximal: list[Object]) -> None:
    for role in (named(maximal, "Role", "queue-scaler", namespace) for namespace in ("media", "mail")):
        (rule,) = [rule for rule in role["rules"] if rule["resources"] == ["secrets"]]
        assert rule["resourceNames"] == ["media-redis", "media-rabbitmq"]


@pytest.mark.parametrize("values", ["", MAXIMAL], ids=["default", "maximal"])
def test_no_role_has_a_wildcard_or_reads_lists_of_secrets(values: str) -> None:
    objects = render(values)
    for role in of_kind(objects, "ClusterRole") + of_kind(objects, "Role"):
        granted = rights(role)
        assert not any("*" in right for right in granted)
        assert {verb for _, resource, verb in granted if resource == "secrets"} <= {"get"}


def test_the_lease_is_the_only_thing_written_in_the_release_namespace(default: list[Object]) -> None:
    role = only(default, "Role")
    assert role["metadata"]["namespace"] == NAMESPACE
    assert rights(role) == allowed("coordination.k8s.io", "leases", "create get update patch")
    unnamed = [rule for rule in role["rules"] if "resourceNames" not in rule]
    assert [rule["verbs"] for rule in unnamed] == [["create"]]
    assert environment(default)["WORKERPOOL_LEASE_NAME"] == role["rules"][1]["resourceNames"][0]


def test_users_roles_include_the_pools(default: list[Object]) -> None:
    view = named(default, "ClusterRole", f"{NAMESPACE}:{NAME}:view")
    edit = named(default, "ClusterRole", f"{NAMESPACE}:{NAME}:edit")
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert {f"{aggregate}{name}" for name in ("view", "edit", "admin")} <= set(view["metadata"]["labels"])
    assert f"{aggregate}view" not in edit["metadata"]["labels"]
    assert {verb for _, _, verb in rights(view)} == {"get", "list", "watch"}
    assert not any("status" in resource for _, resource, _ in rights(edit))


@pytest.mark.parametrize("kind", ["Deployment", "Pod"])
def test_pods_are_restricted(default: list[Object], kind: str) -> None:
    item = only(default, kind)
    assert_restricted(item["spec"]["template"]["spec"] if kind == "Deployment" else item["spec"])


def test_given_security_contexts_add_to_the_defaults(maximal: list[Object]) -> None:
    assert_restricted(operator_pod(maximal))
    assert operator_pod(maximal)["securityContext"]["runAsUser"] == 10001


def test_only_the_operator_gets_a_token(default: list[Object]) -> None:
    assert only(default, "ServiceAccount")["automountServiceAccountToken"] is False
    assert operator_pod(default)["automountServiceAccountToken"] is True
    assert only(default, "Pod")["spec"]["automountServiceAccountToken"] is False


def test_the_operator_has_probes_and_resources(default: list[Object]) -> None:
    (container,) = containers(operator_pod(default))
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    assert container["resources"] == {
        "requests": {"cpu": "50m", "memory": "96Mi"},
        "limits": {"memory": "384Mi"},
    }
    assert container["image"] == "workerpool-operator:0.1.0"
    assert operator_pod(default)["terminationGracePeriodSeconds"] == 30


def test_the_settings_reach_the_operator(default: list[Object], maximal: list[Object]) -> None:
    downward = {
        "WORKERPOOL_LEASE_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        "WORKERPOOL_IDENTITY": {"fieldRef": {"fieldPath": "metadata.name"}},
        "WORKERPOOL_HTTP_PORT": "8080",
    }
    assert environment(default) == downward | {
        "WORKERPOOL_NAMESPACES": "",
        "WORKERPOOL_SAMPLE_INTERVAL_SECONDS": "1",
        "WORKERPOOL_LEADER_ELECTION": "true",
        "WORKERPOOL_LEASE_NAME": NAME,
        "WORKERPOOL_LOG_LEVEL": "INFO",
        "WORKERPOOL_LOG_FORMAT": "json",
    }
    assert environment(maximal) == downward | {
        "WORKERPOOL_NAMESPACES": "media,mail",
        "WORKERPOOL_SAMPLE_INTERVAL_SECONDS": "0.5",
        "WORKERPOOL_LEADER_ELECTION": "true",
        "WORKERPOOL_LEASE_NAME": "queue-scaler-leader",
        "WORKERPOOL_LOG_LEVEL": "DEBUG",
        "WORKERPOOL_LOG_FORMAT": "text",
        "HTTPS_PROXY": "http://proxy.example.test:3128",
        "EXTRA_TOKEN": {"secretKeyRef": {"name": "extra", "key": "token"}},
    }


def test_two_pods_spread_and_one_may_leave(default: list[Object]) -> None:
    assert only(default, "Deployment")["spec"]["replicas"] == 2
    selector = only(default, "Deployment")["spec"]["selector"]
    constraints = operator_pod(default)["topologySpreadConstraints"]
    assert [item["topologyKey"] for item in constraints] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    assert all(item["whenUnsatisfiable"] == "ScheduleAnyway" for item in constraints)
    assert all(item["labelSelector"] == selector for item in constraints)
    budget = only(default, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == selector


def test_selectors_find_the_operator_and_not_the_test_pod(default: list[Object], maximal: list[Object]) -> None:
    for objects in (default, maximal):
        selector = only(objects, "Service")["spec"]["selector"].items()
        assert selector <= only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
        assert not selector <= only(objects, "Pod")["metadata"]["labels"].items()
        assert only(objects, "Deployment")["spec"]["selector"]["matchLabels"].items() == selector


def test_without_election_the_pod_is_recreated() -> None:
    objects = render("{replicaCount: 1, leaderElection: {enabled: false}}")
    assert only(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert of_kind(objects, "Role") == []
    assert environment(objects)["WORKERPOOL_LEADER_ELECTION"] == "false"


def test_crds_are_the_generated_ones_and_kept(default: list[Object]) -> None:
    crds = of_kind(default, "CustomResourceDefinition")
    files = {}
    for path in (CHART / "files" / "crds").glob("*.yaml"):
        generated = yaml.safe_load(path.read_text())
        files[generated["metadata"]["name"]] = generated
    assert {crd["metadata"]["name"] for crd in crds} == {
        "workerpools.workerpool.dev",
        "queuebrokers.workerpool.dev",
    }
    for crd in crds:
        generated = files[crd["metadata"]["name"]]
        assert crd["spec"] == generated["spec"]
        assert crd["metadata"]["annotations"] == generated["metadata"].get("annotations", {}) | {
            "helm.sh/resource-policy": "keep"
        }
        assert crd["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_crds_can_be_left_to_helm_or_left_out(maximal: list[Object]) -> None:
    for crd in of_kind(maximal, "CustomResourceDefinition"):
        annotations = crd["metadata"]["annotations"]
        assert "helm.sh/resource-policy" not in annotations
        assert annotations["argocd.argoproj.io/sync-options"] == "ServerSideApply=true"
    assert of_kind(render("crds: {install: false}"), "CustomResourceDefinition") == []


def test_optional_resources_are_off_by_default(default: list[Object]) -> None:
    assert sorted({item["kind"] for item in default}) == [
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Deployment",
        "Pod",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    ]


def test_resources_can_be_left_to_others() -> None:
    account = "serviceAccount: {create: false, name: mine}"
    objects = render(f"{{rbac: {{create: false}}, {account}, podDisruptionBudget: {{enabled: false}}}}")
    assert sorted({item["kind"] for item in objects}) == [
        "CustomResourceDefinition",
        "Deployment",
        "Pod",
        "Service",
    ]
    assert operator_pod(objects)["serviceAccountName"] == "mine"


def test_the_monitor_scrapes_the_service(maximal: list[Object]) -> None:
    monitor = only(maximal, "ServiceMonitor")
    service = only(maximal, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "15s"}]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert service["spec"]["ports"][0]["name"] == "http"
    assert service["spec"]["ports"][0]["port"] == 9000


def test_the_network_policy_lets_in_the_peers_and_the_test(maximal: list[Object]) -> None:
    policy = only(maximal, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    peers = policy["ingress"][0]["from"]
    assert peers[0] == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert peers[1]["podSelector"]["matchLabels"].items() <= only(maximal, "Pod")["metadata"]["labels"].items()
    plain = only(render("networkPolicy: {enabled: true}"), "NetworkPolicy")["spec"]
    assert plain["policyTypes"] == ["Ingress"]
    assert plain["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]


def test_the_maximal_values_reach_the_pod(maximal: list[Object]) -> None:
    deployment = only(maximal, "Deployment")
    assert deployment["metadata"]["name"] == "queue-scaler"
    assert deployment["metadata"]["labels"]["team"] == "media"
    pod = operator_pod(maximal)
    (container,) = containers(pod)
    digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    assert container["image"] == f"registry.example.test/platform/workerpool-operator@{digest}"
    assert container["imagePullPolicy"] == "Always"
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
    assert container["livenessProbe"]["failureThreshold"] == 6
    assert container["readinessProbe"]["periodSeconds"] == 2
    assert pod["imagePullSecrets"] == [{"name": "registry-login"}]
    assert pod["serviceAccountName"] == "queue-scaler-account"
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["tolerations"][0]["key"] == "dedicated"
    assert "nodeAffinity" in pod["affinity"]
    assert pod["terminationGracePeriodSeconds"] == 60
    assert pod["topologySpreadConstraints"][0]["matchLabelKeys"] == ["pod-template-hash"]
    assert pod["topologySpreadConstraints"][1]["labelSelector"] == {"matchLabels": {"own": "selector"}}
    metadata = deployment["spec"]["template"]["metadata"]
    assert metadata["labels"]["tier"] == "control"
    assert metadata["annotations"]["example.test/logs"] == "json"


def test_the_test_pod_asks_the_service(default: list[Object], maximal: list[Object]) -> None:
    for objects, url in (
        (default, f"http://{NAME}.{NAMESPACE}.svc:8080"),
        (maximal, f"http://queue-scaler.{NAMESPACE}.svc:9000"),
    ):
        (container,) = containers(only(objects, "Pod")["spec"])
        assert container["image"] == containers(operator_pod(objects))[0]["image"]
        assert container["command"][-1] == url
        compile(container["command"][2], "helm_test.py", "exec")


def test_two_releases_share_nothing_that_the_cluster_has_once() -> None:
    second = "{watchNamespaces: [b], crds: {install: false}}"
    first = {(item["kind"], item["metadata"]["name"]) for item in render("watchNamespaces: [a]", release="a")}
    others = {(item["kind"], item["metadata"]["name"]) for item in render(second, release="b")}
    assert first & others == set()


def test_a_release_named_like_the_chart_is_not_named_twice() -> None:
    assert only(render(release="workerpool-operator"), "Deployment")["metadata"]["name"] == "workerpool-operator"
