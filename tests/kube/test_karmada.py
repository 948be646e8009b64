"""Karmada's kinds: rows, schemas, defaults, validation."""

from __future__ import annotations

from typing import Any

import pytest

from towline.kube import karmada, karmada_defaults, names, schemas
from towline.kube.kinds import Kind, KindTable
from towline.kube.objects import Object, copy

NOW = "2026-01-01T00:00:00Z"
UID = "5b1b9a3e-0000-4000-8000-000000000000"
TABLE = KindTable.of(karmada.kinds())
AFFINITY: Object = {"clusterNames": ["member1"]}


def row(kind: str) -> Kind:
    return next(k for k in karmada.kinds() if k.kind == kind)


def policy(kind: str = "PropagationPolicy", **spec: Any) -> Object:
    selector = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nginx"}
    metadata: Object = {"name": "nginx"}
    if not kind.startswith("Cluster"):
        metadata["namespace"] = "team"
    return {
        "apiVersion": "policy.karmada.io/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": {"resourceSelectors": [selector], **spec},
    }


def cluster(**spec: Any) -> Object:
    return {
        "apiVersion": "cluster.karmada.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "member1"},
        "spec": {"syncMode": "Pull", **spec},
    }


def admitted(obj: Object, old: Object | None = None) -> Object:
    """As the API engine does it: the schema's defaults, then the kind's."""
    kind = row(obj["kind"])
    full = schemas.default(kind.schema, obj)
    return full if kind.strategy.default is None else kind.strategy.default(full, old, NOW, UID)


def wrong(obj: Object, old: Object | None = None) -> dict[str, str]:
    """All that admission says against `obj`, after defaulting."""
    kind = row(obj["kind"])
    full = admitted(obj, old)
    errors = schemas.validate(kind.schema, full)
    if not errors and kind.strategy.validate is not None:
        errors = kind.strategy.validate(full, old)
    return {error.path: error.message for error in errors}


# --- rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api_version", "kind", "plural", "short", "namespaced", "status", "columns"),
    [
        ("cluster.karmada.io/v1alpha1", "Cluster", "clusters", (), False, True,
         ["Version", "Mode", "Ready", "Age"]),
        ("policy.karmada.io/v1alpha1", "PropagationPolicy", "propagationpolicies", ("pp",), True, False,
         ["Conflict-Resolution", "Priority", "Age"]),
        ("policy.karmada.io/v1alpha1", "ClusterPropagationPolicy", "clusterpropagationpolicies", ("cpp",), False,
         False, ["Conflict-Resolution", "Priority", "Age"]),
        ("policy.karmada.io/v1alpha1", "OverridePolicy", "overridepolicies", ("op",), True, False, ["Age"]),
        ("policy.karmada.io/v1alpha1", "ClusterOverridePolicy", "clusteroverridepolicies", ("cop",), False, False,
         ["Age"]),
        ("policy.karmada.io/v1alpha1", "ClusterTaintPolicy", "clustertaintpolicies", (), False, False, ["Age"]),
        ("remedy.karmada.io/v1alpha1", "Remedy", "remedies", (), False, False, ["Age"]),
        ("work.karmada.io/v1alpha2", "ResourceBinding", "resourcebindings", ("rb",), True, True,
         ["Scheduled", "FullyApplied", "Age"]),
        ("work.karmada.io/v1alpha2", "ClusterResourceBinding", "clusterresourcebindings", ("crb",), False, True,
         ["Scheduled", "FullyApplied", "Age"]),
        ("work.karmada.io/v1alpha1", "Work", "works", ("wk",), True, True,
         ["Workload-Kind", "Applied", "Age"]),
        ("apps.karmada.io/v1alpha1", "WorkloadRebalancer", "workloadrebalancers", (), False, True, ["Age"]),
    ],
)  # fmt: skip
def test_rows(
    api_version: str,
    kind: str,
    plural: str,
    short: tuple[str, ...],
    namespaced: bool,
    status: bool,
    columns: list[str],
) -> None:
    found = TABLE.named(api_version, kind)
    assert found is not None
    assert (found.plural, found.short_names, found.namespaced, found.status) == (
        plural,
        short,
        namespaced,
        status,
    )
    assert [c.name for c in found.columns if not c.priority] == columns
    plain = ("Cluster", "ClusterTaintPolicy", "WorkloadRebalancer")
    assert found.categories == (() if kind in plain else ("karmada-io",))
    assert found.unserved == ""


def test_every_field_has_a_description() -> None:
    missing = [
        f"{kind.kind}{path}" for kind in karmada.kinds() for path in _undescribed(kind.schema.openapi(), "")
    ]
    assert missing == []


def _undescribed(node: Any, path: str) -> list[str]:
    found = []
    for field, child in (node.get("properties") or {}).items():
        here = f"{path}.{field}"
        if "description" not in child and "$ref" not in child and field != "statePreservation":
            found.append(here)
        found += _undescribed(child, here)
    if isinstance(node.get("items"), dict):
        found += _undescribed(node["items"], f"{path}[]")
    return found


def cells(obj: Object) -> dict[str, Any]:
    return {c.name: c.value(obj) for c in row(obj["kind"]).columns if callable(c.value)}


def test_cluster_columns() -> None:
    obj = cluster(zones=["a", "b"])
    assert cells(obj)["Ready"] == "Unknown"
    obj["status"] = {"kubernetesVersion": "v1.32.0", "conditions": [{"type": "Ready", "status": "False"}]}
    found = cells(obj)
    assert (found["Version"], found["Mode"], found["Ready"], found["Zones"]) == (
        "v1.32.0",
        "Pull",
        "False",
        "a,b",
    )
    assert (found["Region"], found["Proxy-URL"]) == ("<none>", "<none>")


def test_work_and_binding_columns() -> None:
    work = {
        "kind": "Work",
        "spec": {"workload": {"manifests": [{"kind": "Deployment"}]}},
        "status": {"conditions": [{"type": "Applied", "status": "True"}]},
    }
    assert cells(work) == {"Workload-Kind": "Deployment", "Applied": "True"}
    binding = {"kind": "ResourceBinding", "status": {"conditions": [{"type": "Scheduled", "status": "True"}]}}
    assert cells(binding) == {"Scheduled": "True", "FullyApplied": None}


# --- schemas -------------------------------------------------------------------------------------------------

FULL_POLICY = policy(
    propagateDeps=True,
    association=False,
    priority=3,
    preemption="Always",
    dependentOverrides=["a"],
    conflictResolution="Overwrite",
    activationPreference="Lazy",
    onPolicyDelete="Remove",
    preserveResourcesOnDeletion=True,
    suspension={"dispatchingOnClusters": {"clusterNames": ["member1"]}},
    schedulePriority={"priorityClassSource": "KubePriorityClass", "priorityClassName": "high"},
    failover={
        "application": {
            "decisionConditions": {"tolerationSeconds": 60},
            "purgeMode": "Gracefully",
            "gracePeriodSeconds": 100,
            "statePreservation": {"rules": [{"aliasLabelName": "job-id", "jsonPath": "{.jobStatus.jobID}"}]},
        },
        "cluster": {"purgeMode": "Directly"},
    },
    placement={
        "clusterAffinities": [
            {
                "affinityName": "primary",
                "labelSelector": {"matchLabels": {"a": "b"}},
                "fieldSelector": {
                    "matchExpressions": [{"key": "region", "operator": "In", "values": ["eu"]}]
                },
                "clusterNames": ["member1"],
                "exclude": ["member9"],
                "overflowAffinities": [{"affinityName": "burst", "clusterNames": ["member2"]}],
            }
        ],
        "clusterTolerations": [
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
        ],
        "spreadConstraints": [{"spreadByField": "cluster", "minGroups": 1, "maxGroups": 3}],
        "replicaScheduling": {
            "replicaSchedulingType": "Divided",
            "replicaDivisionPreference": "Weighted",
            "weightPreference": {
                "staticWeightList": [{"targetCluster": {"clusterNames": ["member1"]}, "weight": 2}],
                "dynamicWeight": "AvailableReplicas",
            },
        },
        "workloadAffinity": {
            "affinity": {"groupByLabelKey": "app"},
            "antiAffinity": {"groupByLabelKey": "team"},
        },
    },
)

FULL_BINDING: Object = {
    "apiVersion": "work.karmada.io/v1alpha2",
    "kind": "ResourceBinding",
    "metadata": {"name": "nginx-deployment", "namespace": "team"},
    "spec": {
        "resource": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "nginx",
            "namespace": "team",
            "uid": "u",
            "resourceVersion": "7",
        },
        "replicas": 3,
        "replicaRequirements": {
            "nodeClaim": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
            "resourceRequest": {"cpu": "100m", "memory": "1Gi"},
        },
        "components": [{"name": "a", "replicas": 1, "replicaRequirements": {"resourceRequest": {"cpu": 1}}}],
        "clusters": [{"name": "member1", "replicas": 3, "components": [{"name": "a", "replicas": 1}]}],
        "requiredBy": [{"namespace": "team", "name": "x", "clusters": [{"name": "member1"}]}],
        "gracefulEvictionTasks": [
            {"fromCluster": "member2", "reason": "TaintUntolerated", "producer": "TaintManager"}
        ],
        "suspension": {"scheduling": True},
        "workloadAffinityGroups": {"affinityGroup": "a=b"},
        "rescheduleTriggeredAt": NOW,
        "placement": FULL_POLICY["spec"]["placement"],
    },
    "status": {
        "schedulerObservedGeneration": 1,
        "lastScheduledTime": NOW,
        "conditions": [
            {
                "type": "Scheduled",
                "status": "True",
                "reason": "Success",
                "message": "",
                "lastTransitionTime": NOW,
            }
        ],
        "aggregatedStatus": [
            {
                "clusterName": "member1",
                "applied": True,
                "health": "Healthy",
                "status": {"any": {"thing": [1]}},
            }
        ],
    },
}

FULL_WORK: Object = {
    "apiVersion": "work.karmada.io/v1alpha1",
    "kind": "Work",
    "metadata": {"name": "a", "namespace": "karmada-es-member1"},
    "spec": {"workload": {"manifests": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {}}]}},
    "status": {
        "manifestStatuses": [
            {
                "identifier": {
                    "ordinal": 0, "group": "", "version": "v1", "kind": "ConfigMap", "resource": "configmaps",
                    "namespace": "default", "name": "a",
                },
                "health": "Healthy",
                "status": {"x": 1},
            }
        ]
    },
}  # fmt: skip

FULL_OVERRIDE = {
    **policy("OverridePolicy"),
    "spec": {
        "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
        "overrideRules": [
            {
                "targetCluster": {"clusterNames": ["member1"]},
                "overriders": {
                    "imageOverrider": [
                        {"component": "Registry", "operator": "replace", "value": "r"},
                        {
                            "component": "Tag",
                            "operator": "remove",
                            "predicate": {"path": "/spec/template/spec/containers/0/image"},
                        },
                    ],
                    "commandOverrider": [{"containerName": "a", "operator": "add", "value": ["x"]}],
                    "argsOverrider": [{"containerName": "a", "operator": "remove", "value": ["x"]}],
                    "labelsOverrider": [{"operator": "add", "value": {"a": "b"}}],
                    "annotationsOverrider": [{"operator": "add", "value": {"a": "b c!"}}],
                    "fieldOverrider": [
                        {
                            "fieldPath": "/data/a",
                            "json": [{"subPath": "/x", "operator": "add", "value": {"deep": [1]}}],
                        }
                    ],
                    "plaintext": [{"path": "/spec/replicas", "operator": "replace", "value": 3}],
                },
            }
        ],
    },
}


FULL_CLUSTER = cluster(
    id="u",
    zones=["a"],
    region="eu",
    provider="p",
    taints=[{"key": "a", "effect": "NoExecute", "timeAdded": NOW}],
)
FULL = [FULL_POLICY, FULL_BINDING, FULL_WORK, FULL_OVERRIDE, FULL_CLUSTER]


@pytest.mark.parametrize("obj", FULL, ids=lambda obj: obj["kind"])
def test_schemas_know_every_field_and_keep_it(obj: Object) -> None:
    kind = row(obj["kind"])
    assert schemas.unknown_fields(kind.schema, obj) == []
    assert (
        schemas.prune(kind.schema, obj) == obj or obj["kind"] == "ResourceBinding"
    )  # quantities become canonical
    assert wrong(obj) == {}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"resourceSelectors": []}, "spec.resourceSelectors"),
        ({"resourceSelectors": [{"kind": "Deployment"}]}, "spec.resourceSelectors[0].apiVersion"),
        ({"preemption": "Sometimes"}, "spec.preemption"),
        ({"priority": "high"}, "spec.priority"),
        ({"priority": 2**31}, "spec.priority"),
        ({"conflictResolution": "Merge"}, "spec.conflictResolution"),
        ({"activationPreference": "Eager"}, "spec.activationPreference"),
        ({"failover": {"application": {}}}, "spec.failover.application.decisionConditions"),
        ({"placement": {"clusterAffinities": [{"affinityName": "a" * 33}]}}, "spec.placement.clusterAffinities[0].affinityName"),
        (
            {"placement": {"replicaScheduling": {"weightPreference": {"staticWeightList": [{"targetCluster": {}, "weight": 0}]}}}},
            "spec.placement.replicaScheduling.weightPreference.staticWeightList[0].weight",
        ),
        ({"placement": {"spreadConstraints": [{"spreadByField": "planet"}]}}, "spec.placement.spreadConstraints[0].spreadByField"),
    ],
)  # fmt: skip
def test_schema_errors(change: Object, path: str) -> None:
    assert path in wrong(policy(**change))


def test_schema_defaults() -> None:
    spec = admitted(policy(placement={"replicaScheduling": {}}))["spec"]
    assert (spec["priority"], spec["preemption"], spec["conflictResolution"]) == (0, "Never", "Abort")
    assert spec["schedulerName"] == "default-scheduler"
    assert spec["placement"]["replicaScheduling"] == {
        "replicaSchedulingType": "Divided",
        "replicaDivisionPreference": "Weighted",
    }


def test_unknown_fields_are_named() -> None:
    obj = policy(placement={"clusterAffinity": {"clusterName": ["a"]}}, replicas=1)
    found = schemas.unknown_fields(row("PropagationPolicy").schema, obj)
    assert sorted(found) == ["spec.placement.clusterAffinity.clusterName", "spec.replicas"]


# --- defaults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("obj", [*FULL, policy(), policy("ClusterPropagationPolicy"), cluster()])
def test_defaults_are_idempotent_and_leave_their_argument_alone(obj: Object) -> None:
    before = copy(obj)
    once = admitted(obj)
    assert obj == before
    assert admitted(once) == once
    assert admitted(once, once) == once


@pytest.mark.parametrize("kind", [k.kind for k in karmada.kinds()])
@pytest.mark.parametrize(
    "part", [None, "x", 1, [], ["x"], {"placement": "x", "overriders": 1, "taints": [1], "resourceModels": 2}]
)
def test_hooks_stand_ill_typed_objects(kind: str, part: Any) -> None:
    strategy = row(kind).strategy
    obj = {"kind": kind, "metadata": {"name": "a", "namespace": "b"}, "spec": part}
    found = strategy.default(obj, None, NOW, UID) if strategy.default is not None else obj
    if strategy.validate is not None:
        strategy.validate(found, None)
        strategy.validate(found, found)


@pytest.mark.parametrize(
    ("kind", "label", "finalizer"),
    [
        ("PropagationPolicy", names.POLICY_ID, names.POLICY_FINALIZER),
        ("ClusterPropagationPolicy", names.CLUSTER_POLICY_ID, names.CLUSTER_POLICY_FINALIZER),
    ],
)
def test_policies_get_an_identity(kind: str, label: str, finalizer: str) -> None:
    created = admitted(policy(kind))
    assert created["metadata"]["labels"] == {label: UID}
    assert created["metadata"]["finalizers"] == [finalizer]
    copied = policy(kind)
    copied["metadata"]["labels"] = {label: "somebody-elses"}
    assert admitted(copied)["metadata"]["labels"] == {label: UID}
    old = {**created, "metadata": {**created["metadata"], "labels": {label: "mine"}}}
    replaced = admitted(policy(kind), old)
    assert replaced["metadata"]["labels"] == {label: "mine"}
    assert "finalizers" not in replaced["metadata"]
    stolen = {**policy(kind), "metadata": {"name": "nginx", "namespace": "team", "labels": {label: "other"}}}
    assert "field is immutable" in wrong(stolen, old)[f"metadata.labels[{label}]"]


def test_policy_defaults() -> None:
    spec = admitted(
        policy(
            resourceSelectors=[
                {"apiVersion": "v1", "kind": "ConfigMap"},
                {"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport"},
            ],
            placement={"spreadConstraints": [{"maxGroups": 2}, {"spreadByLabel": "x", "minGroups": 2}]},
            failover={"application": {"decisionConditions": {}}},
        )
    )["spec"]
    assert [s["namespace"] for s in spec["resourceSelectors"]] == ["team", "team"]
    assert spec["propagateDeps"] is True
    assert spec["placement"]["spreadConstraints"] == [
        {"maxGroups": 2, "spreadByField": "cluster", "minGroups": 1},
        {"spreadByLabel": "x", "minGroups": 2},
    ]
    application = spec["failover"]["application"]
    assert (application["purgeMode"], application["gracePeriodSeconds"]) == ("Gracefully", 600)
    assert application["decisionConditions"] == {"tolerationSeconds": 300}
    assert "namespace" not in admitted(policy("ClusterPropagationPolicy"))["spec"]["resourceSelectors"][0]


def test_bindings_keep_a_given_identity() -> None:
    assert admitted(FULL_BINDING)["metadata"]["labels"] == {names.BINDING_ID: UID}
    given = {**FULL_BINDING, "metadata": {"name": "a", "labels": {names.BINDING_ID: "mine"}}}
    assert admitted(given)["metadata"]["labels"] == {names.BINDING_ID: "mine"}


def test_works_hold_manifests() -> None:
    template = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "labels": {"app": "a"}},
        "data": {"k": "v"},
    }
    work = {**FULL_WORK, "spec": {"workload": {"manifests": [template, "junk"]}}}
    made, junk = admitted(work)["spec"]["workload"]["manifests"]
    assert junk == "junk"
    assert made == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "a",
            "labels": {"app": "a", names.WORK_ID: UID},
            "annotations": {
                names.MANAGED_ANNOTATIONS: f"{names.MANAGED_ANNOTATIONS},{names.MANAGED_LABELS}",
                names.MANAGED_LABELS: f"app,{names.WORK_ID}",
            },
        },
        "data": {"k": "v"},
    }


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        ("junk", ""),
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, ".apiVersion"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, ".metadata.name"),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": "x"}},
            ".metadata.labels",
        ),
    ],
)
def test_works_hold_objects(manifest: Any, field: str) -> None:
    kind = row("Work")
    work = {**FULL_WORK, "spec": {"workload": {"manifests": [manifest]}}}
    assert kind.strategy.validate is not None
    errors = schemas.validate(kind.schema, work) or kind.strategy.validate(work, None)
    assert [e.path for e in errors] == [f"spec.workload.manifests[0]{field}"]


def test_a_no_execute_taint_keeps_its_time_until_it_goes() -> None:
    """What tolerates it for a while counts from there, however often somebody applies the list without times."""
    taint = {"key": "k", "effect": "NoExecute"}
    default = row("Cluster").strategy.default
    assert default is not None
    first = default(cluster(taints=[taint]), None, "2026-01-01T00:00:00Z", "u")
    other = {"key": "k", "effect": "NoSchedule"}
    again = default(cluster(taints=[other, {**taint, "value": "v"}]), first, NOW, "u")
    assert [t.get("timeAdded") for t in again["spec"]["taints"]] == [None, "2026-01-01T00:00:00Z"]
    gone = default(cluster(taints=[other]), again, NOW, "u")
    assert default(cluster(taints=[taint]), gone, NOW, "u")["spec"]["taints"][0]["timeAdded"] == NOW
    lost = cluster(taints=[{**other, "timeAdded": "2026-01-01T00:00:00Z"}])
    assert default(cluster(taints=[other]), lost, NOW, "u")["spec"]["taints"] == lost["spec"]["taints"], (
        "nor does the health's"
    )


def test_cluster_defaults() -> None:
    spec = admitted(
        cluster(zone="a", taints=[{"key": "k", "effect": "NoExecute"}, {"key": "k", "effect": "NoSchedule"}])
    )["spec"]
    assert (spec["zones"], "zone" in spec) == (["a"], False)
    assert [t.get("timeAdded") for t in spec["taints"]] == [NOW, None]
    assert len(spec["resourceModels"]) == 9
    assert spec["resourceModels"][0]["ranges"] == [
        {"name": "cpu", "min": "0", "max": "1"},
        {"name": "memory", "min": "0", "max": "4Gi"},
    ]
    assert spec["resourceModels"][8]["ranges"][1] == {
        "name": "memory",
        "min": "1024Gi",
        "max": karmada_defaults.QUANTITY_MAX,
    }
    assert wrong(cluster()) == {}


def model(grade: int, *ranges: tuple[str, str, str]) -> Object:
    return {
        "grade": grade,
        "ranges": [{"name": name, "min": low, "max": high} for name, low, high in ranges],
    }


@pytest.mark.parametrize(
    ("given", "written"),
    [
        pytest.param(
            [model(0, ("cpu", "5", "7")), model(1, ("cpu", "7", "9"))],
            [model(0, ("cpu", "0", "7")), model(1, ("cpu", "7", karmada_defaults.QUANTITY_MAX))],
            id="the first begins at nothing, the last has no end",
        ),
        pytest.param(
            [model(3, ("cpu", "1", "2"), ("memory", "1Gi", "2Gi"))],
            [
                model(
                    3,
                    ("cpu", "0", karmada_defaults.QUANTITY_MAX),
                    ("memory", "0", karmada_defaults.QUANTITY_MAX),
                )
            ],
            id="one grade is everything",
        ),
        pytest.param([], karmada_defaults.default_models(), id="none given: the nine"),
    ],
)
def test_models_are_closed_on_both_sides(given: list[Object], written: list[Object]) -> None:
    admitted_models = admitted(cluster(resourceModels=given))["spec"]["resourceModels"]
    assert admitted_models == written
    assert admitted(cluster(resourceModels=written))["spec"]["resourceModels"] == written
    assert wrong(cluster(resourceModels=given)) == {}


def test_models_taken_away_later_stay_away() -> None:
    before = admitted(cluster())
    default = row("Cluster").strategy.default
    assert default is not None
    after = default(cluster(), before, NOW, UID)
    assert not after["spec"].get("resourceModels")


MODELS = "spec.resourceModels"


@pytest.mark.parametrize(
    ("models", "path"),
    [
        pytest.param([model(0, ("cpu", "0", "1"))] * 2, MODELS, id="two of one grade"),
        pytest.param(
            [model(0, ("cpu", "0", "1"), ("memory", "0", "1")), model(1, ("cpu", "1", "2"))],
            MODELS,
            id="fewer resources in a grade",
        ),
        pytest.param(
            [
                model(0, ("cpu", "0", "1"), ("memory", "0", "1")),
                model(1, ("memory", "1", "2"), ("cpu", "1", "2")),
            ],
            MODELS,
            id="another order of resources",
        ),
        pytest.param([model(0)], MODELS, id="no resource at all"),
        pytest.param(
            [model(0, ("cpu", "0", "0")), model(1, ("cpu", "0", "2"))],
            f"{MODELS}[0].ranges[0]",
            id="empty range",
        ),
        pytest.param(
            [model(0, ("cpu", "0", "4")), model(1, ("cpu", "4", "3")), model(2, ("cpu", "3", "9"))],
            f"{MODELS}[1].ranges[0]",
            id="a range that ends before it begins",
        ),
        pytest.param(
            [model(0, ("cpu", "0", "4")), model(1, ("cpu", "3", "9"))], f"{MODELS}[1].ranges[0]", id="overlap"
        ),
        pytest.param(
            [model(0, ("cpu", "0", "1")), model(1, ("cpu", "2", "4"))], f"{MODELS}[1].ranges[0]", id="gap"
        ),
        pytest.param(
            [
                model(0, ("cpu", "0", "1"), ("memory", "0", "1Gi")),
                model(1, ("cpu", "1", "4"), ("memory", "2Gi", "4Gi")),
            ],
            f"{MODELS}[1].ranges[1]",
            id="gap in the second resource",
        ),
        pytest.param([model(-1, ("cpu", "0", "4"))], f"{MODELS}[0].grade", id="a grade below 0"),
        pytest.param(
            [model(0, ("cpu", "0", "x")), model(1, ("cpu", "1", "2"))],
            f"{MODELS}[0].ranges[0].max",
            id="no quantity",
        ),
    ],
)
def test_models_that_do_not_join_are_refused(models: list[Object], path: str) -> None:
    assert path in wrong(cluster(resourceModels=models))


def test_given_models_are_sorted_and_closed() -> None:
    models = [
        {"grade": 2, "ranges": [{"name": "cpu", "min": "4", "max": "8"}]},
        {"grade": 1, "ranges": [{"name": "cpu", "min": "1", "max": "4"}]},
    ]
    spec = admitted(cluster(resourceModels=models))["spec"]
    assert [m["grade"] for m in spec["resourceModels"]] == [1, 2]
    assert spec["resourceModels"][0]["ranges"][0]["min"] == "0"
    assert spec["resourceModels"][1]["ranges"][0]["max"] == karmada_defaults.QUANTITY_MAX


# --- validation ----------------------------------------------------------------------------------------------


def override(**overriders: Any) -> Object:
    return {**policy("OverridePolicy"), "spec": {"overrideRules": [{"overriders": overriders}]}}


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (
            {**policy("OverridePolicy"), "spec": {"overrideRules": [{"overriders": {}}], "targetCluster": {}}},
            "spec.overrideRules",
        ),
        (policy("OverridePolicy", resourceSelectors=[{"apiVersion": "v1", "kind": "Pod", "namespace": "x"}]),
         "spec.resourceSelectors[0].namespace"),
        (override(labelsOverrider=[{"operator": "add", "value": {"a": "b c"}}]),
         "spec.overrideRules[0].overriders.labelsOverrider[0].value[a]"),
        (override(imageOverrider=[{"component": "Tag", "operator": "add"}]),
         "spec.overrideRules[0].overriders.imageOverrider[0].value"),
        (override(imageOverrider=[{"component": "Tag", "operator": "remove", "predicate": {"path": "spec/x"}}]),
         "spec.overrideRules[0].overriders.imageOverrider[0].predicate.path"),
        (override(fieldOverrider=[{"fieldPath": "/data/a"}]),
         "spec.overrideRules[0].overriders.fieldOverrider[0]"),
        (override(fieldOverrider=[{"fieldPath": "/a", "json": [{"subPath": "/a~2", "operator": "remove"}]}]),
         "spec.overrideRules[0].overriders.fieldOverrider[0].json[0].subPath"),
        (override(fieldOverrider=[{"fieldPath": "/a", "yaml": [{"subPath": "/a", "operator": "remove", "value": 1}]}]),
         "spec.overrideRules[0].overriders.fieldOverrider[0].yaml[0].value"),
        (override(fieldOverrider=[{"fieldPath": "/a", "yaml": [{"subPath": "/a", "operator": "add"}]}]),
         "spec.overrideRules[0].overriders.fieldOverrider[0].yaml[0].value"),
    ],
)  # fmt: skip
def test_override_errors(obj: Object, path: str) -> None:
    assert path in wrong(obj)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"apiEndpoint": "not a url"}, "spec.apiEndpoint"),
        ({"apiEndpoint": "https://user:pw@host:6443"}, "spec.apiEndpoint"),
        ({"apiEndpoint": "https://host:6443?x=1"}, "spec.apiEndpoint"),
        ({"apiEndpoint": "https://[::1"}, "spec.apiEndpoint"),
        ({"proxyURL": "ftp://proxy"}, "spec.proxyURL"),
        ({"region": "no good"}, "spec.region"),
        ({"zone": "a", "zones": ["b"]}, "spec.zone"),
        ({"zones": ["no good"]}, "spec.zones[0]"),
        ({"taints": [{"key": "a", "effect": "Never"}]}, "spec.taints[0].effect"),
        ({"taints": [{"key": "a", "effect": "NoSchedule"}] * 2}, "spec.taints[1]"),
        ({"secretRef": {"name": "a"}}, "spec.secretRef.namespace"),
        ({"syncMode": "Both"}, "spec.syncMode"),
    ],
)
def test_cluster_errors(spec: Object, path: str) -> None:
    assert path in wrong(cluster(**spec))


def test_cluster_names_are_short() -> None:
    obj = {**cluster(), "metadata": {"name": "a" * 49}}
    assert "48 characters" in wrong(obj)["metadata.name"]


def test_components_have_names_of_their_own() -> None:
    def named(*components: str) -> list[str]:
        parts = [{"name": name, "replicas": 1} for name in components]
        return list(wrong({**FULL_BINDING, "spec": {**FULL_BINDING["spec"], "components": parts}}))

    assert named("") == named("a", "b") == []
    assert named("a", "") == ["spec.components[1].name"]
    assert named("a", "a") == ["spec.components[1].name"]


def test_binding_dependencies_are_json() -> None:
    key = "resourcebinding.karmada.io/dependencies"
    bad = {**FULL_BINDING, "metadata": {"name": "a", "annotations": {key: "{"}}}
    assert list(wrong(bad)) == [f"metadata.annotations[{key}]"]
