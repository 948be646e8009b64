"""The interpreter: replicas, status, health, aggregation, retention, pruning of native kinds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.kube import interpreter, names
from towline.kube.interpreter.requirements import effective_requests
from towline.kube.objects import Object, copy

API = {
    "Deployment": "apps/v1", "ReplicaSet": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1",
    "Job": "batch/v1", "CronJob": "batch/v1", "Ingress": "networking.k8s.io/v1", "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2", "Widget": "example.com/v1",
}  # fmt: skip


def make(kind: str, spec: Object | None = None, status: Object | None = None, **metadata: Any) -> Object:
    obj: Object = {"apiVersion": API.get(kind, "v1"), "kind": kind, "metadata": {"name": "web", **metadata}}
    if spec is not None:
        obj["spec"] = spec
    if status is not None:
        obj["status"] = status
    return obj


def items(*statuses: Object | None) -> list[Object]:
    return [
        {"clusterName": f"m{n}", "status": s} if s is not None else {"clusterName": f"m{n}"}
        for n, s in enumerate(statuses)
    ]


def pod(cpu: str = "100m", **spec: Any) -> Object:
    return {"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}], **spec}


# --- replicas ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        ("Deployment", {"replicas": 3}, (3, None)),
        ("Deployment", {}, (0, None)),
        (
            "Deployment",
            {"replicas": 2, "template": {"spec": pod()}},
            (2, {"resourceRequest": {"cpu": "100m"}}),
        ),
        ("StatefulSet", {"replicas": 1}, (1, None)),
        ("ReplicaSet", {"replicas": 1}, (1, None)),
        ("Job", {"parallelism": 5, "completions": 3}, (3, None)),
        ("Job", {"parallelism": 5}, (5, None)),
        ("Job", {}, (1, None)),
        ("Pod", pod("1"), (1, {"resourceRequest": {"cpu": "1"}})),
        ("DaemonSet", {}, None),
        ("CronJob", {}, None),
        ("Widget", {"replicas": 3}, None),
    ],
)
def test_replicas(kind: str, spec: Object, expected: tuple[int, Object | None] | None) -> None:
    assert interpreter.replicas(make(kind, spec)) == expected


def test_requirements() -> None:
    terms: Object = {"nodeSelectorTerms": [{"matchExpressions": []}]}
    spec = pod(
        nodeSelector={"disk": "ssd"},
        tolerations=[{"operator": "Exists"}],
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        priorityClassName="high",
    )
    found = interpreter.replicas(make("Deployment", {"replicas": 1, "template": {"spec": spec}}))
    assert found == (
        1,
        {
            "nodeClaim": {
                "hardNodeAffinity": terms,
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"operator": "Exists"}],
            },
            "resourceRequest": {"cpu": "100m"},
            "priorityClassName": "high",
        },
    )


def container(cpu: str, *, sidecar: bool = False, **more: str) -> Object:
    found: Object = {"resources": {"requests": {"cpu": cpu, **more}}}
    return {**found, "restartPolicy": "Always"} if sidecar else found


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {}),
        (
            {"containers": [container("100m", memory="1Gi"), container("200m")]},
            {"cpu": "300m", "memory": "1Gi"},
        ),
        ({"containers": [container("100m")], "initContainers": [container("1")]}, {"cpu": "1"}),
        ({"containers": [container("2")], "initContainers": [container("1")]}, {"cpu": "2"}),
        # A sidecar runs beside the containers, and beside the init containers that start after it.
        (
            {"containers": [container("1")], "initContainers": [container("500m", sidecar=True)]},
            {"cpu": "1500m"},
        ),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("1", sidecar=True), container("3")],
            },
            {"cpu": "4"},
        ),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("3"), container("1", sidecar=True)],
            },
            {"cpu": "3"},
        ),
        (
            {"containers": [container("100m")], "overhead": {"cpu": "50m", "memory": "8Mi"}},
            {"cpu": "150m", "memory": "8Mi"},
        ),
        ({"containers": [{"resources": {"limits": {"cpu": "1"}}}]}, {"cpu": "1"}),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}}, {"cpu": "3"}),
        ({"containers": [container("nonsense")]}, {}),
        ({"containers": [{"resources": {"requests": {"cpu": 1}}}]}, {"cpu": "1"}),
        ({"containers": "nonsense"}, {}),
    ],
)
def test_effective_requests(spec: Object, expected: Object) -> None:
    assert effective_requests(spec) == expected


def test_revise_replicas() -> None:
    obj = make("Deployment", {"replicas": 3, "paused": True})
    assert interpreter.revise_replicas(obj, 1)["spec"] == {"replicas": 1, "paused": True}
    assert obj["spec"]["replicas"] == 3
    assert interpreter.revise_replicas(obj, 3) is obj
    absent = make("Deployment", {})
    assert interpreter.revise_replicas(absent, 1) is absent  # a scaler owns it
    job = make("Job", {"parallelism": 4, "completions": 8})
    assert interpreter.revise_replicas(job, 2)["spec"] == {"parallelism": 2, "completions": 8}
    daemon = make("DaemonSet", {})
    assert interpreter.revise_replicas(daemon, 5) is daemon


# --- status --------------------------------------------------------------------------------------------------


def test_deployment_status_travels_with_generations() -> None:
    obj = make(
        "Deployment",
        {},
        {
            "replicas": 2,
            "readyReplicas": 2,
            "unavailableReplicas": 0,
            "observedGeneration": 4,
            "conditions": [{}],
        },
        generation=5,
        annotations={names.TEMPLATE_GENERATION: "7"},
    )
    assert interpreter.reflect_status(obj) == {
        "replicas": 2,
        "readyReplicas": 2,
        "observedGeneration": 4,
        "generation": 5,
        "resourceTemplateGeneration": 7,
    }


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (make("Deployment", {}), None),
        (make("StatefulSet", {}, {"currentReplicas": 1, "observedGeneration": 2}), {"currentReplicas": 1, "observedGeneration": 2}),
        (make("DaemonSet", {}, {"numberReady": 1, "collisionCount": 3}), {"numberReady": 1}),
        (make("Job", {}, {"active": 1, "ready": 1, "startTime": "t"}), {"active": 1, "startTime": "t"}),
        (make("Service", {"type": "ClusterIP"}, {"loadBalancer": {}}), None),
        (make("Service", {"type": "LoadBalancer"}, {"loadBalancer": {"ingress": []}}), {"loadBalancer": {"ingress": []}}),
        (make("Ingress", {}, {"loadBalancer": {}, "x": 1}), {"loadBalancer": {}}),
        (make("HorizontalPodAutoscaler", {}, {"currentReplicas": 2, "currentMetrics": []}), {"currentReplicas": 2, "desiredReplicas": 0}),
        (make("Widget", {}, {"any": [1]}), {"any": [1]}),
        (make("Widget", {}), None),
    ],
)  # fmt: skip
def test_reflect_status(obj: Object, expected: Any) -> None:
    assert interpreter.reflect_status(obj) == expected


ROLLED_OUT = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        *[
            (make(kind, {"replicas": 2}, status, generation=2), expected)
            for kind in ("Deployment", "StatefulSet")
            for status, expected in (
                (ROLLED_OUT, "Healthy"),
                ({**ROLLED_OUT, "observedGeneration": 1}, "Unhealthy"),
                ({**ROLLED_OUT, "updatedReplicas": 1}, "Unhealthy"),
                ({**ROLLED_OUT, "availableReplicas": 1}, "Unhealthy"),
                ({}, "Unhealthy"),
                (None, "Unhealthy"),
            )
        ],
        (make("Deployment", {"replicas": 0}, {"observedGeneration": 1}, generation=1), "Healthy"),
        (make("ReplicaSet", {"replicas": 1}, {"availableReplicas": 1}), "Healthy"),
        (make("ReplicaSet", {"replicas": 2}, {"availableReplicas": 1}), "Unhealthy"),
        (make("DaemonSet", {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}), "Healthy"),
        (make("DaemonSet", {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}), "Unhealthy"),
        (make("Pod", {}, {"phase": "Succeeded"}), "Healthy"),
        (make("Pod", {}, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}), "Healthy"),
        (make("Pod", {}, {"phase": "Running"}), "Unhealthy"),
        (make("Service", {"type": "ClusterIP"}), "Healthy"),
        (make("Service", {"type": "LoadBalancer"}), "Unhealthy"),
        (make("Service", {"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "1"}]}}), "Healthy"),
        (make("Ingress", {}, {"loadBalancer": {"ingress": [{"hostname": "a"}]}}), "Healthy"),
        (make("Ingress", {}), "Unhealthy"),
        (make("PersistentVolumeClaim", {}, {"phase": "Bound"}), "Healthy"),
        (make("PersistentVolumeClaim", {}, {"phase": "Pending"}), "Unhealthy"),
        (make("PodDisruptionBudget", {}, {"currentHealthy": 1, "desiredHealthy": 2}), "Unhealthy"),
        (make("PodDisruptionBudget", {}, {"currentHealthy": 2, "desiredHealthy": 2}), "Healthy"),
        (make("PodDisruptionBudget", {}, {"currentHealthy": "x", "desiredHealthy": 2}), "Unknown"),
        (make("Job", {}, {"failed": 9}), "Healthy"),
        (make("ConfigMap"), "Healthy"),
        (make("Widget", {}, {"phase": "Failed"}), "Healthy"),
    ],
)  # fmt: skip
def test_health(obj: Object, expected: str) -> None:
    assert interpreter.health(obj) == expected


# --- aggregation ---------------------------------------------------------------------------------------------


def seen(generation: int = 3, observed: int = 3, template: int = 7, **counters: int) -> Object:
    return {
        "generation": generation,
        "observedGeneration": observed,
        "resourceTemplateGeneration": template,
        **counters,
    }


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet"])
@pytest.mark.parametrize(
    ("statuses", "observed"),
    [
        ([seen(), seen()], 7),
        ([seen(), seen(observed=2)], 6),  # a member's controller is behind
        ([seen(), seen(template=6)], 6),  # a member still has the older template
        ([seen(), None], 6),  # a member has not reported
        ([seen(generation=900, observed=900, template=6)], 6),  # the member's own generation says nothing
        ([], 7),
    ],
)
def test_observed_generation(kind: str, statuses: list[Object | None], observed: int) -> None:
    template = make(kind, {}, {"observedGeneration": 6}, generation=7)
    found = interpreter.aggregate(template, items(*statuses))
    assert found is not None
    assert found["status"]["observedGeneration"] == observed


def test_deployment_sums() -> None:
    template = make(
        "Deployment", {}, {"readyReplicas": 9, "unavailableReplicas": 1, "conditions": [1]}, generation=7
    )
    before = copy(template)
    found = interpreter.aggregate(
        template, items(seen(replicas=2, readyReplicas=1), None, seen(replicas=3, readyReplicas=3))
    )
    assert found is not None
    assert found["status"] == {"replicas": 5, "readyReplicas": 4, "conditions": [1]}
    assert template == before


counters = st.dictionaries(
    st.sampled_from(
        ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"]
    ),
    st.integers(0, 1000),
)
reports = st.lists(st.one_of(st.none(), counters), max_size=6)


@given(reports, st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_order_and_rest(statuses: list[Object | None], shuffle: Any) -> None:
    template = make("Deployment", {}, {}, generation=1)
    found = interpreter.aggregate(template, items(*statuses))
    assert found is not None
    for name in ("replicas", "readyReplicas"):
        assert found.get("status", {}).get(name, 0) == sum((s or {}).get(name, 0) for s in statuses)
    shuffled = list(statuses)
    shuffle.shuffle(shuffled)
    assert interpreter.aggregate(template, items(*shuffled)) == found
    assert interpreter.aggregate(found, items(*statuses)) is found


@pytest.mark.parametrize("kind", [*API, "Pod", "Service", "PersistentVolume", "PersistentVolumeClaim"])
@pytest.mark.parametrize("junk", ["x", -1, [], {}, True, [1], [{}], {"ingress": "x"}])
def test_a_member_that_reports_nonsense_stops_nobody(kind: str, junk: Any) -> None:
    fields = (
        "replicas", "observedGeneration", "generation", "resourceTemplateGeneration", "numberReady", "active",
        "succeeded", "conditions", "startTime", "completionTime", "loadBalancer", "phase", "containerStatuses",
        "disruptedPods", "expectedPods", "currentReplicas", "lastScheduleTime",
    )  # fmt: skip
    template = make(kind, {"type": "LoadBalancer"}, {})
    interpreter.aggregate(template, items(dict.fromkeys(fields, junk), {"replicas": 1}))
    interpreter.aggregate(template, items(junk))


def test_kinds_without_aggregation() -> None:
    for kind in ("ConfigMap", "Widget", "Secret"):
        assert interpreter.aggregate(make(kind), items({"a": 1})) is None
    service = make("Service", {"type": "ClusterIP"})
    assert interpreter.aggregate(service, items(None)) is service


@pytest.mark.parametrize("kind", ["Service", "Ingress"])
def test_addresses_are_united(kind: str) -> None:
    def balancer(*entries: Object) -> Object:
        return {"loadBalancer": {"ingress": list(entries)}}

    template = make(kind, {"type": "LoadBalancer"})
    found = interpreter.aggregate(
        template, items(balancer({"ip": "2"}, {"hostname": "a"}), balancer({"ip": "1"}, {"ip": "2"}), None)
    )
    assert found is not None
    assert found["status"] == {"loadBalancer": {"ingress": [{"hostname": "a"}, {"ip": "1"}, {"ip": "2"}]}}


def done(condition: str = "Complete", end: str = "2026-01-01T00:05:00Z", **more: Any) -> Object:
    met = [
        {"type": c, "status": "True", "lastTransitionTime": end} for c in ("SuccessCriteriaMet", condition)
    ]
    return {"conditions": met, "startTime": "2026-01-01T00:00:00Z", "completionTime": end, **more}


def test_job_completes_when_all_did() -> None:
    job = make("Job", {}, {})
    later = done(end="2026-01-01T00:09:00Z", succeeded=2) | {"startTime": "2026-01-01T00:01:00Z"}
    running = {"active": 1, "startTime": "2026-01-01T00:00:30Z"}
    part = interpreter.aggregate(job, items(done(succeeded=1), running))
    assert part is not None
    assert part["status"] == {"active": 1, "succeeded": 1, "startTime": "2026-01-01T00:00:00Z"}
    whole = interpreter.aggregate(part, items(done(succeeded=1), later))
    assert whole is not None
    status = whole["status"]
    assert (status["succeeded"], status["startTime"], status["completionTime"]) == (
        3,
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:09:00Z",
    )
    assert [(c["type"], c["lastTransitionTime"]) for c in status["conditions"]] == [
        ("SuccessCriteriaMet", "2026-01-01T00:09:00Z"),
        ("Complete", "2026-01-01T00:09:00Z"),
    ]
    assert interpreter.aggregate(whole, items(running)) is whole  # finished for good


def test_job_fails_when_one_did() -> None:
    found = interpreter.aggregate(
        make("Job", {}), items(done("Failed", failed=3), {"active": 1}, done("Failed"))
    )
    assert found is not None
    (failed,) = found["status"]["conditions"]
    assert failed["message"] == "Job executed failed in member clusters m0,m2"
    assert "completionTime" not in found["status"]


def test_cronjob_pod_volumes() -> None:
    cron = interpreter.aggregate(
        make("CronJob", {}),
        items(
            {"active": [{"name": "a"}], "lastScheduleTime": "1"},
            {"active": [{"name": "b"}], "lastScheduleTime": "2"},
        ),
    )
    assert cron is not None
    assert cron["status"] == {"active": [{"name": "a"}, {"name": "b"}], "lastScheduleTime": "2"}
    pods = interpreter.aggregate(
        make("Pod", {}),
        items(
            {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "a", "ready": True, "state": {"running": {}}, "containerID": "x"}
                ],
            },
            {"phase": "Succeeded"},
        ),
    )
    assert pods is not None
    assert pods["status"]["phase"] == "Running"
    assert pods["status"]["containerStatuses"] == [
        {"name": "a", "image": "", "imageID": "", "restartCount": 0, "ready": True, "state": {"running": {}}}
    ]


@pytest.mark.parametrize(
    ("kind", "phases", "expected"),
    [
        ("Pod", ["Running", "Failed", "Pending"], "Failed"),
        ("Pod", ["Running", None], "Pending"),
        ("Pod", ["Succeeded", "Succeeded"], "Succeeded"),
        ("PersistentVolume", ["Bound", "Available"], "Available"),
        ("PersistentVolume", ["Released", "Failed"], "Failed"),
        ("PersistentVolumeClaim", ["Bound", "Bound"], "Bound"),
        ("PersistentVolumeClaim", ["Bound", "Pending"], "Pending"),
        ("PersistentVolumeClaim", ["Pending", "Lost"], "Lost"),
    ],
)
def test_phases(kind: str, phases: list[str | None], expected: str) -> None:
    found = interpreter.aggregate(make(kind, {}), items(*[{"phase": p} if p else None for p in phases]))
    assert found is not None
    assert found["status"]["phase"] == expected


def test_budget_and_autoscaler_sums() -> None:
    budget = interpreter.aggregate(
        make("PodDisruptionBudget", {}),
        items({"expectedPods": 2, "disruptedPods": {"a": "t"}}, {"expectedPods": 3, "currentHealthy": 1}),
    )
    assert budget is not None
    assert (budget["status"]["expectedPods"], budget["status"]["currentHealthy"]) == (5, 1)
    assert budget["status"]["disruptedPods"] == {"m0/a": "t"}
    scaler = interpreter.aggregate(
        make("HorizontalPodAutoscaler", {}),
        items({"currentReplicas": 1, "desiredReplicas": 2}, {"currentReplicas": 3}),
    )
    assert scaler is not None
    assert scaler["status"] == {"currentReplicas": 4, "desiredReplicas": 2}


# --- retention -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("desired", "observed", "field", "expected"),
    [
        (make("Deployment", {"replicas": 1}, labels={names.RETAIN_REPLICAS: "true"}), make("Deployment", {"replicas": 5}), "replicas", 5),
        (make("Deployment", {"replicas": 1}), make("Deployment", {"replicas": 5}), "replicas", 1),
        (make("Service", {"ports": []}), make("Service", {"clusterIP": "10.0.0.1"}), "clusterIP", "10.0.0.1"),
        (make("Service", {"clusterIP": "None"}), make("Service", {"clusterIP": "10.0.0.1"}), "clusterIP", "None"),
        (make("PersistentVolumeClaim", {}), make("PersistentVolumeClaim", {"volumeName": "v"}), "volumeName", "v"),
        (make("PersistentVolume", {}), make("PersistentVolume", {"claimRef": {"name": "c"}}), "claimRef", {"name": "c"}),
        (make("Job", {}), make("Job", {"selector": {"matchLabels": {"controller-uid": "m"}}}), "selector", {"matchLabels": {"controller-uid": "m"}}),
        (make("Pod", {}), make("Pod", {"nodeName": "n1"}), "nodeName", "n1"),
        (
            make("Pod", {"containers": [{"name": "a"}, {"name": "b"}]}),
            make("Pod", {"containers": [{"name": "a", "volumeMounts": [1]}]}),
            "containers",
            [{"name": "a", "volumeMounts": [1]}, {"name": "b"}],
        ),
    ],
)  # fmt: skip
def test_retain(desired: Object, observed: Object, field: str, expected: Any) -> None:
    before = copy(desired)
    assert interpreter.retain(desired, observed)["spec"][field] == expected
    assert desired == before


def test_retain_beside_spec() -> None:
    account = interpreter.retain(
        {**make("ServiceAccount"), "secrets": [{"name": "mine"}]},
        {"secrets": [{"name": "web-token-x"}, {"name": "mine"}]},
    )
    assert [s["name"] for s in account["secrets"]] == ["web-token-x", "mine"]
    token = {**make("Secret"), "type": "kubernetes.io/service-account-token"}
    assert interpreter.retain(token, {"data": {"token": "x"}})["data"] == {"token": "x"}
    opaque = {**make("Secret"), "type": "Opaque", "data": {}}
    assert interpreter.retain(opaque, {"data": {"token": "x"}}) is opaque
    job = make("Job", {"template": {"metadata": {"labels": {"app": "a"}}}})
    kept = interpreter.retain(
        job, make("Job", {"template": {"metadata": {"labels": {"job-name": "web", "app": "old"}}}})
    )
    assert kept["spec"]["template"]["metadata"]["labels"] == {"app": "a", "job-name": "web"}
    widget = make("Widget", {})
    assert interpreter.retain(widget, widget) is widget


# --- pruning -------------------------------------------------------------------------------------------------


def test_prune_drops_what_is_the_hubs() -> None:
    template = make(
        "Widget", {"a": 1}, {"b": 2},
        uid="u", resourceVersion="1", generation=2, creationTimestamp="t", finalizers=["f"], ownerReferences=[{}],
        managedFields=[{}], labels={"a": "b"}, annotations={"c": "d"}, namespace="n",
    )  # fmt: skip
    before = copy(template)
    assert interpreter.prune(template) == make(
        "Widget", {"a": 1}, namespace="n", labels={"a": "b"}, annotations={"c": "d"}
    )
    assert template == before


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            make("Deployment", {}, annotations={"deployment.kubernetes.io/revision": "3", "a": "b"}),
            make("Deployment", {}, annotations={"a": "b"}),
        ),
        (make("Deployment", {}, annotations={"deployment.kubernetes.io/revision": "3"}), make("Deployment", {})),
        (make("Service", {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": []}), make("Service", {"ports": []})),
        (make("Service", {"clusterIP": "None", "clusterIPs": ["None"]}), make("Service", {"clusterIP": "None", "clusterIPs": ["None"]})),
        (
            {**make("ServiceAccount"), "secrets": [{"name": "web-token-abc"}, {"name": "other"}]},
            {**make("ServiceAccount"), "secrets": [{"name": "other"}]},
        ),
        ({**make("ServiceAccount"), "secrets": [{"name": "web-token-abc"}]}, make("ServiceAccount")),
        (
            {**make("Secret", annotations={"kubernetes.io/service-account.uid": "u"}), "type": "kubernetes.io/service-account-token", "data": {"token": "x"}},
            {**make("Secret"), "type": "kubernetes.io/service-account-token"},
        ),
        ({**make("Secret"), "type": "Opaque", "data": {"a": "b"}}, {**make("Secret"), "type": "Opaque", "data": {"a": "b"}}),
        (make("PersistentVolumeClaim", {}, annotations={"volume.kubernetes.io/selected-node": "n"}), make("PersistentVolumeClaim", {})),
        (
            make(
                "Job",
                {
                    "ttlSecondsAfterFinished": 5,
                    "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
                    "template": {"metadata": {"labels": {"controller-uid": "u", "job-name": "web", "app": "a"}}},
                },
            ),
            make("Job", {"template": {"metadata": {"labels": {"app": "a"}}}}),
        ),
        (
            make("Job", {"manualSelector": True, "selector": {"matchLabels": {"controller-uid": "u"}}}),
            make("Job", {"manualSelector": True, "selector": {"matchLabels": {"controller-uid": "u"}}}),
        ),
    ],
)  # fmt: skip
def test_prune_by_kind(template: Object, expected: Object) -> None:
    before = copy(template)
    assert interpreter.prune(template) == expected
    assert template == before
    assert interpreter.prune(expected) == expected


@pytest.mark.parametrize(
    "kind", [*API, "Pod", "Service", "Secret", "ServiceAccount", "PersistentVolumeClaim"]
)
@pytest.mark.parametrize("junk", ["x", 1, [1], {"template": "x", "selector": 1}])
def test_prune_stands_any_manifest(kind: str, junk: Any) -> None:
    obj = {"apiVersion": API.get(kind, "v1"), "kind": kind}
    for field in ("metadata", "spec", "secrets", "type"):
        interpreter.prune({**obj, field: junk})
    interpreter.prune(
        {**obj, "metadata": {"name": 1, "annotations": junk, "labels": junk}, "secrets": [{"name": 1}]}
    )


def test_record_managed() -> None:
    found = interpreter.record_managed(make("ConfigMap", labels={"b": "1", "a": "2"}, annotations={"x": "y"}))
    annotations = found["metadata"]["annotations"]
    assert annotations[names.MANAGED_LABELS] == "a,b"
    assert annotations[names.MANAGED_ANNOTATIONS] == f"{names.MANAGED_ANNOTATIONS},{names.MANAGED_LABELS},x"
    assert interpreter.record_managed(found) == found
