"""Built-in kinds: rows, columns, defaults, validation."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from towline.kube import builtin, cells, schemas
from towline.kube.kinds import Kind, KindTable
from towline.kube.objects import Object, copy

TABLE = KindTable.of(builtin.kinds())
NOW = "2026-01-01T00:00:00Z"


def row(kind: str) -> Kind:
    return next(k for k in builtin.kinds() if k.kind == kind)


def defaulted(obj: Object, old: Object | None = None) -> Object:
    hook = row(obj["kind"]).strategy.default
    assert hook is not None
    return hook(obj, old, NOW, "u-1")


def wrong(obj: Object, old: Object | None = None) -> dict[str, str]:
    hook = row(obj["kind"]).strategy.validate
    assert hook is not None
    return {error.path: error.message for error in hook(obj, old)}


def workload(kind: str, **spec: Any) -> Object:
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]},
            },
            **spec,
        },
    }


# --- rows ----------------------------------------------------------------------------------------------------


def test_rows_are_unambiguous_and_have_schemas() -> None:
    rows = builtin.kinds()
    names = [(k.group, k.version, n) for k in rows for n in (k.plural, k.singular, *k.short_names) if n]
    assert len({(k.group, k.version, k.plural) for k in rows}) == len(rows)
    for kind in rows:
        assert {"apiVersion", "kind", "metadata"} <= set(kind.schema.properties), kind
        assert kind.status <= ("status" in kind.schema.properties), kind
        assert kind.columns, kind
    repeated = {n for n in names if names.count(n) > 1}
    assert repeated <= {("", "v1", "endpoints")}


@pytest.mark.parametrize(
    ("api_version", "kind", "plural", "short", "namespaced", "status", "scale"),
    [
        ("apps/v1", "Deployment", "deployments", ("deploy",), True, True, True),
        ("apps/v1", "DaemonSet", "daemonsets", ("ds",), True, True, False),
        ("v1", "Namespace", "namespaces", ("ns",), False, True, False),
        ("v1", "ConfigMap", "configmaps", ("cm",), True, False, False),
        ("networking.k8s.io/v1", "Ingress", "ingresses", ("ing",), True, True, False),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            ("crd", "crds"),
            False,
            True,
            False,
        ),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", (), False, False, False),
    ],
)
def test_row(
    api_version: str,
    kind: str,
    plural: str,
    short: tuple[str, ...],
    namespaced: bool,
    status: bool,
    scale: bool,
) -> None:
    found = TABLE.named(api_version, kind)
    assert found is not None
    assert (found.plural, found.short_names, found.namespaced) == (plural, short, namespaced)
    assert (found.status, found.scale is not None) == (status, scale)


def test_every_cell_stands_an_empty_object() -> None:
    for kind in builtin.kinds():
        for column in kind.columns:
            if callable(column.value):
                column.value({})
                column.value({"metadata": {}, "spec": {}, "status": {}})


# --- columns -------------------------------------------------------------------------------------------------


def shown(obj: Object, *, wide: bool = False) -> dict[str, Any]:
    columns = [c for c in row(obj["kind"]).columns if wide or not c.priority]
    return {c.name: c.value(obj) if callable(c.value) else c.value for c in columns}


def test_deployment_columns() -> None:
    obj = workload("Deployment", replicas=3)
    obj["status"] = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}
    found = shown(obj, wide=True)
    assert list(found) == ["Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]
    assert [found[c] for c in ("Ready", "Up-to-date", "Available")] == ["2/3", 3, 1]
    assert [found[c] for c in ("Containers", "Images", "Selector")] == ["web", "nginx:1.27", "app=web"]


def test_workloads_without_status() -> None:
    assert shown(workload("Deployment", replicas=0))["Ready"] == "0/0"
    assert shown(workload("StatefulSet"))["Ready"] == "0/1"
    assert shown(workload("DaemonSet"))["Node Selector"] == "<none>"


@pytest.mark.parametrize(
    ("spec", "status", "address", "ports"),
    [
        ({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}, {}, "<none>", "80/TCP"),
        (
            {"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30080}]},
            {},
            "<pending>",
            "80:30080/TCP",
        ),
        (
            {"type": "LoadBalancer", "ports": [{"port": 53, "protocol": "UDP"}]},
            {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "lb.example.com"}]}},
            "1.2.3.4,lb.example.com",
            "53/UDP",
        ),
        ({"type": "ExternalName", "externalName": "db.example.com"}, {}, "db.example.com", "<none>"),
    ],
)
def test_service_columns(spec: Object, status: Object, address: str, ports: str) -> None:
    found = shown({"kind": "Service", "spec": spec, "status": status})
    assert (found["External-IP"], found["Port(s)"]) == (address, ports)


@pytest.mark.parametrize(
    ("pod", "ready", "status", "restarts"),
    [
        ({"status": {"phase": "Pending"}}, "0/1", "Pending", "0"),
        (
            {
                "status": {
                    "phase": "Running",
                    "containerStatuses": [{"ready": True, "restartCount": 2, "state": {"running": {}}}],
                }
            },
            "1/1",
            "Running",
            "2",
        ),
        (
            {
                "status": {
                    "phase": "Running",
                    "containerStatuses": [
                        {"ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
                    ],
                }
            },
            "0/1",
            "CrashLoopBackOff",
            "0",
        ),
        (
            {
                "status": {
                    "phase": "Failed",
                    "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}],
                }
            },
            "0/1",
            "ExitCode:3",
            "0",
        ),
        ({"metadata": {"deletionTimestamp": NOW}, "status": {"phase": "Running"}}, "0/1", "Terminating", "0"),
        (
            {
                "spec": {"containers": [{}], "initContainers": [{"name": "a"}, {"name": "b"}]},
                "status": {
                    "phase": "Pending",
                    "initContainerStatuses": [
                        {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
                        {"name": "b", "state": {"running": {}}},
                    ],
                },
            },
            "0/1",
            "Init:1/2",
            "0",
        ),
    ],
)
def test_pod_columns(pod: Object, ready: str, status: str, restarts: str) -> None:
    found = shown({"kind": "Pod", "spec": {"containers": [{}]}, **pod})
    assert (found["Ready"], found["Status"], found["Restarts"]) == (ready, status, restarts)


def test_node_and_job_columns() -> None:
    node = {
        "kind": "Node",
        "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert shown(node)["Status"] == "Ready,SchedulingDisabled"
    assert shown(node)["Roles"] == "control-plane"
    job = {
        "kind": "Job",
        "spec": {"completions": 2},
        "status": {
            "succeeded": 2,
            "startTime": "2026-01-01T00:00:00Z",
            "completionTime": "2026-01-01T00:02:05Z",
            "conditions": [{"type": "Complete", "status": "True"}],
        },
    }
    found = shown(job)
    assert (found["Status"], found["Completions"], found["Duration"]) == ("Complete", "2/2", "2m5s")


def test_autoscaler_targets() -> None:
    hpa = {
        "kind": "HorizontalPodAutoscaler",
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                }
            ],
        },
    }
    assert shown(hpa)["Reference"] == "Deployment/web"
    assert shown(hpa)["Targets"] == "cpu: <unknown>/80%"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (125, "2m5s"), (600, "10m"), (3 * 3600 + 60, "3h1m"), (9 * 3600, "9h"),
     (2 * 86400, "2d"), (2 * 86400 + 3600, "2d1h"), (30 * 86400, "30d"), (800 * 86400, "2y70d")],
)  # fmt: skip
def test_human_duration(seconds: float, text: str) -> None:
    assert cells.human_duration(seconds) == text


# --- defaults ------------------------------------------------------------------------------------------------

SAMPLES: list[Object] = [
    workload("Deployment"),
    workload("StatefulSet", volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}]),
    workload("DaemonSet"),
    workload("ReplicaSet"),
    {**workload("Job"), "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}}},
    {"kind": "CronJob", "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {}}}}}},
    {"kind": "Service", "spec": {"ports": [{"port": 80}]}},
    {"kind": "Secret", "stringData": {"a": "b"}, "data": {"c": "ZA=="}},
    {"kind": "Namespace", "metadata": {"name": "team"}},
    {"kind": "Pod", "spec": {"containers": [{"name": "a", "image": "a", "ports": [{"containerPort": 80}]}]}},
    {"kind": "PersistentVolumeClaim", "spec": {}},
    {"kind": "NetworkPolicy", "spec": {"egress": [{"ports": [{"port": 53}]}]}},
    {"kind": "LimitRange", "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}},
    {"kind": "CustomResourceDefinition", "spec": {"names": {"kind": "Foo"}}},
    {"kind": "MutatingWebhookConfiguration", "webhooks": [{"name": "a", "rules": [{}]}]},
]


@pytest.mark.parametrize("obj", SAMPLES, ids=lambda obj: obj["kind"])
def test_defaults_are_idempotent_and_leave_their_argument_alone(obj: Object) -> None:
    before = copy(obj)
    once = defaulted(obj)
    assert obj == before
    assert defaulted(once) == once
    assert defaulted(once, once) == once


@pytest.mark.parametrize("obj", SAMPLES, ids=lambda obj: obj["kind"])
def test_defaults_make_nothing_wrong_that_was_right(obj: Object) -> None:
    """Admission asks the schema once, before them."""
    schema = row(obj["kind"]).schema
    told = {(error.path, error.reason) for error in schemas.validate(schema, obj)}
    assert told >= {(error.path, error.reason) for error in schemas.validate(schema, defaulted(obj))}


@pytest.mark.parametrize(
    "kind", [k.kind for k in builtin.kinds() if k.strategy.default or k.strategy.validate]
)
@pytest.mark.parametrize(
    "part", [None, "x", 1, [], [1], {"a": 1}, {"template": "x"}, {"template": {"spec": [1]}}]
)
def test_hooks_stand_ill_typed_objects(kind: str, part: Any) -> None:
    """A client's nonsense is never an exception: the schema reports it."""
    strategy = row(kind).strategy
    for field in (
        "metadata",
        "spec",
        "status",
        "data",
        "stringData",
        "webhooks",
        "rules",
        "subjects",
        "roleRef",
    ):
        obj = {"kind": kind, field: part}
        if strategy.default is not None:
            strategy.default(obj, None, NOW, "u")
        if strategy.validate is not None:
            strategy.validate(obj, None)
            strategy.validate(obj, {"kind": kind, field: {}})


def test_deployment_defaults() -> None:
    spec = defaulted(workload("Deployment"))["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Always"
    assert pod["dnsPolicy"] == "ClusterFirst"
    assert pod["schedulerName"] == "default-scheduler"
    assert pod["containers"][0] == {
        "name": "web",
        "image": "nginx:1.27",
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
    }


def test_zero_is_a_value() -> None:
    assert defaulted(workload("Deployment", replicas=0))["spec"]["replicas"] == 0
    assert (
        "rollingUpdate"
        not in defaulted(workload("Deployment", strategy={"type": "Recreate"}))["spec"]["strategy"]
    )


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    pod = defaulted({"kind": "Pod", "spec": {"containers": [{"name": "a", "image": image}]}})
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("spec", "completions", "parallelism"),
    [({}, 1, 1), ({"parallelism": 3}, None, 3), ({"completions": 5}, 5, 1)],
)
def test_job_defaults(spec: Object, completions: int | None, parallelism: int) -> None:
    found = defaulted({"kind": "Job", "spec": spec})["spec"]
    assert (found.get("completions"), found["parallelism"], found["backoffLimit"]) == (
        completions,
        parallelism,
        6,
    )


def test_secret_merges_plain_text() -> None:
    secret = defaulted({"kind": "Secret", "data": {"a": "b2xk", "k": "a2VlcA=="}, "stringData": {"a": "new"}})
    assert secret == {
        "kind": "Secret",
        "type": "Opaque",
        "data": {"a": base64.b64encode(b"new").decode(), "k": "a2VlcA=="},
    }


def test_namespace_defaults() -> None:
    created = defaulted({"kind": "Namespace", "metadata": {"name": "team"}})
    assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    assert created["spec"] == {"finalizers": ["kubernetes"]}
    assert created["status"] == {"phase": "Active"}
    assert defaulted({"kind": "Namespace", "metadata": {"name": "team"}}, created)["spec"] == created["spec"]
    deleting = {**created, "metadata": {"name": "team", "deletionTimestamp": NOW}}
    assert defaulted({**deleting, "spec": {}}, deleting)["spec"] == {}


def test_service_defaults() -> None:
    spec = defaulted({"kind": "Service", "spec": {"type": "NodePort", "ports": [{"port": 80}]}})["spec"]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (spec["sessionAffinity"], spec["externalTrafficPolicy"]) == ("None", "Cluster")
    assert "clusterIP" not in spec


def test_service_updates_keep_what_was_allocated() -> None:
    port = {"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30080}
    old = {
        "kind": "Service",
        "spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [port]},
    }
    replaced = defaulted({"kind": "Service", "spec": {"type": "NodePort", "ports": [{"port": 80}]}}, old)
    assert (replaced["spec"]["clusterIP"], replaced["spec"]["ports"]) == ("10.0.0.1", [port])
    assert wrong(replaced, old) == {}
    external = defaulted({"kind": "Service", "spec": {"type": "ExternalName", "externalName": "a"}}, old)
    assert "clusterIP" not in external["spec"]


def test_defaulted_objects_pass_the_schema() -> None:
    for obj in (workload("Deployment"), workload("StatefulSet", serviceName="web"), workload("DaemonSet")):
        full = {"apiVersion": "apps/v1", **defaulted(obj)}
        assert schemas.validate(row(obj["kind"]).schema, full) == []
        assert schemas.unknown_fields(row(obj["kind"]).schema, full) == []
        assert wrong(full) == {}


# --- validation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "path", "text"),
    [
        ({"selector": None}, "spec.selector", "Required value"),
        ({"selector": {}}, "spec.selector", "empty selector"),
        (
            {"selector": {"matchLabels": {"app": "other"}}},
            "spec.template.metadata.labels",
            "`selector` does not match template `labels`",
        ),
        (
            {"selector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}},
            "spec.template.metadata.labels",
            "does not match",
        ),
        ({"replicas": -1}, "spec.replicas", "must be greater than or equal to 0"),
        (
            {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
            "spec.template.spec.containers",
            "Required value",
        ),
        (
            {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "A"}]}}},
            "spec.template.spec.containers[0].name",
            "a lowercase RFC 1123 label",
        ),
    ],
)
def test_deployment_errors(change: Object, path: str, text: str) -> None:
    assert text in wrong(workload("Deployment", **change))[path]


def test_container_errors() -> None:
    def pod(*containers: Object, **spec: Any) -> dict[str, str]:
        return wrong({"kind": "Pod", "spec": {"containers": list(containers), **spec}})

    fine = {"name": "a", "image": "a"}
    assert pod(fine) == {}
    assert pod({"name": "a"}) == {"spec.containers[0].image": "Required value"}
    assert pod(fine, fine) == {"spec.containers[1].name": 'Duplicate value: "a"'}
    assert "spec.containers[0].ports[0].containerPort" in pod({**fine, "ports": [{"containerPort": 70000}]})
    mounting = {**fine, "volumeMounts": [{"name": "data", "mountPath": "/d"}]}
    assert pod(mounting) == {"spec.containers[0].volumeMounts[0].name": 'Not found: "data"'}
    assert pod(mounting, volumes=[{"name": "data", "emptyDir": {}}]) == {}


def test_selectors_never_change() -> None:
    old = workload("Deployment")
    new = workload("Deployment")
    new["spec"]["selector"] = {"matchLabels": {"app": "web", "v": "1"}}
    new["spec"]["template"]["metadata"]["labels"]["v"] = "1"
    assert "field is immutable" in wrong(new, old)["spec.selector"]
    assert wrong(old, old) == {}


def test_stateful_set_updates() -> None:
    old = workload("StatefulSet", serviceName="a")
    assert wrong(workload("StatefulSet", serviceName="a", replicas=5), old) == {}
    message = wrong(workload("StatefulSet", serviceName="b"), old)["spec"]
    assert message.startswith("Forbidden: updates to statefulset spec for fields other than 'replicas'")
    claims = [{"metadata": {"name": "data"}}]
    mounting = workload("StatefulSet", volumeClaimTemplates=claims)
    mounting["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "data", "mountPath": "/data"}
    ]
    assert wrong(mounting) == {}


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        ({"kind": "ConfigMap", "data": {"a/b": "x"}}, "data[a/b]"),
        ({"kind": "ConfigMap", "data": {"a": "x"}, "binaryData": {"a": "eA=="}}, "data[a]"),
        ({"kind": "ConfigMap", "data": {"a": "x" * (1024 * 1024 + 1)}}, ""),
        ({"kind": "Secret", "type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, "data[tls.key]"),
        ({"kind": "Service", "spec": {}}, "spec.ports"),
        ({"kind": "Service", "spec": {"type": "Nope"}}, "spec.type"),
        ({"kind": "Service", "spec": {"ports": [{"port": 0}]}}, "spec.ports[0].port"),
        ({"kind": "Service", "spec": {"ports": [{"port": 1}, {"port": 2}]}}, "spec.ports[0].name"),
        ({"kind": "PersistentVolumeClaim", "spec": {}}, "spec.accessModes"),
        ({"kind": "Ingress", "spec": {}}, "spec"),
        ({"kind": "PodDisruptionBudget", "spec": {"minAvailable": 1, "maxUnavailable": 1}}, "spec"),
        (
            {"kind": "HorizontalPodAutoscaler", "spec": {"minReplicas": 3, "maxReplicas": 2}},
            "spec.maxReplicas",
        ),
        ({"kind": "CronJob", "spec": {"schedule": "* * *"}}, "spec.schedule"),
    ],
)
def test_errors(obj: Object, path: str) -> None:
    assert path in wrong(obj)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ({"kind": "ConfigMap", "immutable": True, "data": {"a": "1"}}, {"data": {"a": "2"}}, "data"),
        ({"kind": "Secret", "type": "Opaque"}, {"type": "kubernetes.io/tls"}, "type"),
        ({"kind": "RoleBinding", "roleRef": {"name": "a"}}, {"roleRef": {"name": "b"}}, "roleRef"),
        ({"kind": "PriorityClass", "value": 1}, {"value": 2}, "value"),
        ({"kind": "StorageClass", "provisioner": "a"}, {"provisioner": "b"}, "provisioner"),
        (
            {
                "kind": "Service",
                "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 1}]},
            },
            {"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.2", "ports": [{"port": 1}]}},
            "spec.clusterIPs[0]",
        ),
    ],
)
def test_immutable_fields(old: Object, new: Object, path: str) -> None:
    assert path in wrong({**old, **new}, old)
    assert path not in wrong(old, old)
