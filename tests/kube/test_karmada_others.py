"""Karmada's kinds around propagation: each default and each rule one row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kube.test_karmada import NOW, admitted, row, wrong
from towline.kube import karmada, names, schemas
from towline.kube.objects import Object, copy

SCALED: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
FEDERATED: Object = {"apiVersion": "autoscaling.karmada.io/v1alpha1", "kind": "FederatedHPA", "name": "web"}
CPU: Object = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}
RULE: Object = {"name": "day", "schedule": "0 8 * * *", "targetReplicas": 3}
SERVICE: Object = {"service": {"name": "web", "port": {"number": 80}}}
WEBHOOK: Object = {
    "name": "interpret.example.com",
    "clientConfig": {"url": "https://interpret.example.com:8443/x"},
    "rules": [
        {"operations": ["InterpretHealth"], "apiGroups": [""], "apiVersions": ["v1"], "kinds": ["Pod"]}
    ],
    "interpreterContextVersions": ["v1alpha1"],
}
TAINT: Object = {"key": "a", "effect": "NoSchedule"}


def made(kind: str, spec: Any = None, **fields: Any) -> Object:
    api_version = next(k.api_version for k in karmada.kinds() if k.kind == kind)
    metadata: Object = {"name": "web"}
    if row(kind).namespaced:
        metadata["namespace"] = "team"
    obj = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}
    return obj if spec is None else {**obj, "spec": spec}


def fhpa(**spec: Any) -> Object:
    return made("FederatedHPA", {"scaleTargetRef": SCALED, "maxReplicas": 5, **spec})


def cron(target: Object, **rule: Any) -> Object:
    rules = [{key: value for key, value in {**RULE, **rule}.items() if value is not None}]
    return made("CronFederatedHPA", {"scaleTargetRef": target, "rules": rules})


def ingress(path: Object | None = None, **rule: Any) -> Object:
    http = {"paths": [{"path": "/", "pathType": "Prefix", "backend": SERVICE, **(path or {})}]}
    return made("MultiClusterIngress", {"rules": [{"http": http, **rule}]})


def mcs(**spec: Any) -> Object:
    return made("MultiClusterService", {"types": ["CrossCluster"], **spec})


def webhooks(**webhook: Any) -> Object:
    return made("ResourceInterpreterWebhookConfiguration", webhooks=[{**WEBHOOK, **webhook}])


def taints(**spec: Any) -> Object:
    return made("ClusterTaintPolicy", {"taints": [TAINT], **spec})


def quota(overall: Object, **assigned: Object) -> Object:
    parts = [{"clusterName": name, "hard": hard} for name, hard in assigned.items()]
    return made("FederatedResourceQuota", {"overall": overall, "staticAssignments": parts})


FINE = [
    fhpa(minReplicas=2, metrics=[CPU], behavior={"scaleUp": {}, "scaleDown": {"selectPolicy": "Min"}}),
    cron(SCALED, timeZone="Europe/Berlin", schedule="@daily"),
    cron(FEDERATED, targetReplicas=None, targetMinReplicas=1, targetMaxReplicas=3),
    made("WorkloadRebalancer", {"workloads": [SCALED], "ttlSecondsAfterFinished": 0}),
    made(
        "ResourceInterpreterCustomization",
        {
            "target": {"apiVersion": "apps/v1", "kind": "Deployment"},
            "customizations": {"retention": {"luaScript": "function Retain(d, o) return d end"}},
        },
    ),
    webhooks(),
    made("ServiceExport"),
    made("ServiceImport", {"type": "ClusterSetIP", "ports": [{"port": 80}]}),
    mcs(ports=[{"name": "http", "port": 80}], providerClusters=[{"name": "member1"}]),
    ingress(host="*.example.com"),
    quota({"cpu": "10", "requests.nvidia.com/gpu": 4}, member1={"cpu": "4"}, member2={"cpu": "6"}),
    taints(
        targetClusters={"clusterNames": ["member1"]},
        addOnConditions=[{"conditionType": "Ready", "operator": "In", "statusValues": ["False"]}],
    ),
    made(
        "Remedy",
        {
            "clusterAffinity": {"clusterNames": ["member1"]},
            "decisionMatches": [
                {
                    "clusterConditionMatch": {
                        "conditionType": "ServiceDomainNameResolutionReady",
                        "operator": "Equal",
                        "conditionStatus": "False",
                    }
                }
            ],
            "actions": ["TrafficControl"],
        },
    ),
    made(
        "ResourceRegistry",
        {
            "targetCluster": {"clusterNames": ["member1"]},
            "resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment"}],
            "backendStore": {"openSearch": {"addresses": ["https://search:9200"]}},
        },
    ),
]


# --- rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "plural", "short", "namespaced", "status", "columns"),
    [
        ("FederatedHPA", "federatedhpas", ("fhpa",), True, True,
         ["Reference-Kind", "Reference-Name", "MinPods", "MaxPods", "Replicas", "Age"]),
        ("CronFederatedHPA", "cronfederatedhpas", ("cronfhpa",), True, True,
         ["Reference-Kind", "Reference-Name", "Age"]),
        ("ResourceInterpreterCustomization", "resourceinterpretercustomizations", ("ric",), False, False,
         ["Target-API-Version", "Target-Kind", "Age"]),
        ("ResourceInterpreterWebhookConfiguration", "resourceinterpreterwebhookconfigurations", (), False, False,
         ["Age"]),
        ("ServiceExport", "serviceexports", ("svcex",), True, True, ["Age"]),
        ("ServiceImport", "serviceimports", ("svcim",), True, True, ["Type", "IP", "Age"]),
        ("MultiClusterService", "multiclusterservices", ("mcs",), True, True, ["Age"]),
        ("MultiClusterIngress", "multiclusteringresses", ("mci",), True, True, ["Age"]),
        ("FederatedResourceQuota", "federatedresourcequotas", (), True, True, ["Overall", "Overall_Used"]),
        ("ResourceRegistry", "resourceregistries", (), False, True, ["Age"]),
    ],
)  # fmt: skip
def test_rows(
    kind: str, plural: str, short: tuple[str, ...], namespaced: bool, status: bool, columns: list[str]
) -> None:
    found = row(kind)
    assert (found.plural, found.short_names, found.namespaced, found.status) == (
        plural,
        short,
        namespaced,
        status,
    )
    assert [c.name for c in found.columns] == columns
    assert found.unserved == f"{kind} is stored, but this version of Towline does not act on it yet"


@pytest.mark.parametrize("obj", FINE, ids=lambda obj: obj["kind"])
def test_what_is_right_is_taken_whole(obj: Object) -> None:
    before = copy(obj)
    assert wrong(obj) == {}
    assert schemas.unknown_fields(row(obj["kind"]).schema, obj) == []
    once = admitted(obj)
    assert obj == before
    assert admitted(once) == once
    assert wrong(once, once) == {}


# --- defaults ------------------------------------------------------------------------------------------------


def test_autoscalers_follow_the_cpu() -> None:
    spec = admitted(fhpa(behavior={"scaleUp": {}, "scaleDown": {}}))["spec"]
    assert (spec["minReplicas"], spec["metrics"]) == (1, [CPU])
    double = {"type": "Percent", "value": 100, "periodSeconds": 15}
    assert spec["behavior"] == {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, double],
        },
        "scaleDown": {"selectPolicy": "Max", "policies": [double]},
    }
    assert "behavior" not in admitted(fhpa())["spec"]


def test_rules_have_histories() -> None:
    (rule,) = admitted(cron(SCALED))["spec"]["rules"]
    assert (rule["suspend"], rule["successfulHistoryLimit"], rule["failedHistoryLimit"]) == (False, 3, 3)


def test_multi_cluster_services_get_an_identity() -> None:
    created = admitted(mcs())
    identity = created["metadata"]["labels"][names.MULTI_CLUSTER_SERVICE_ID]
    assert admitted(mcs(), created)["metadata"]["labels"] == {names.MULTI_CLUSTER_SERVICE_ID: identity}


def test_webhooks_have_ten_seconds() -> None:
    service = {"namespace": "team", "name": "interpreter"}
    (webhook,) = admitted(webhooks(clientConfig={"service": service}))["webhooks"]
    assert webhook["timeoutSeconds"] == 10
    assert webhook["clientConfig"]["service"] == {**service, "port": 443}


# --- validation ----------------------------------------------------------------------------------------------


def metric(source: str, **content: Any) -> Object:
    return {"type": source[:1].upper() + source[1:], source: content}


HPA_ERRORS: list[tuple[Object, str]] = [
    ({"minReplicas": 0}, "spec.minReplicas"),
    ({"maxReplicas": 0}, "spec.maxReplicas"),
    ({"maxReplicas": -1}, "spec.maxReplicas"),
    ({"minReplicas": 6}, "spec.maxReplicas"),
    ({"scaleTargetRef": {"kind": "", "name": "a"}}, "spec.scaleTargetRef.kind"),
    ({"scaleTargetRef": {"kind": "A", "name": ""}}, "spec.scaleTargetRef.name"),
    ({"scaleTargetRef": {"kind": "A", "name": "a/b"}}, "spec.scaleTargetRef.name"),
    ({"scaleTargetRef": {**SCALED, "apiVersion": "a/b/c"}}, "spec.scaleTargetRef.apiVersion"),
    ({"metrics": [{"type": "Disk"}]}, "spec.metrics[0].type"),
    ({"metrics": [{"type": "Pods"}]}, "spec.metrics[0].pods"),
    ({"metrics": [{**CPU, "pods": {"metric": {"name": "a"}, "target": {"type": "AverageValue"}}}]},
     "spec.metrics[0].pods"),
    ({"metrics": [metric("resource", name="cpu", target={"type": "Value"})]},
     "spec.metrics[0].resource.target.averageUtilization"),
    ({"metrics": [metric("resource", name="cpu",
                         target={"type": "Value", "averageUtilization": 1, "averageValue": "1"})]},
     "spec.metrics[0].resource.target.averageValue"),
    ({"metrics": [metric("resource", name="cpu", target={"type": "Most", "averageUtilization": 0})]},
     "spec.metrics[0].resource.target.type"),
    ({"metrics": [metric("resource", name="cpu", target={"type": "Utilization", "averageUtilization": 0})]},
     "spec.metrics[0].resource.target.averageUtilization"),
    ({"metrics": [metric("containerResource", name="cpu", container="",
                         target={"type": "Utilization", "averageUtilization": 1})]},
     "spec.metrics[0].containerResource.container"),
    ({"metrics": [metric("pods", metric={"name": "a"}, target={"type": "AverageValue"})]},
     "spec.metrics[0].pods.target.averageValue"),
    ({"metrics": [metric("pods", metric={"name": ""}, target={"type": "AverageValue", "averageValue": "1"})]},
     "spec.metrics[0].pods.metric.name"),
    ({"metrics": [metric("pods", metric={"name": "a"}, target={"type": "AverageValue", "averageValue": "-1"})]},
     "spec.metrics[0].pods.target.averageValue"),
    ({"metrics": [metric("object", describedObject=SCALED, metric={"name": "a"}, target={"type": "Value"})]},
     "spec.metrics[0].object.target.averageValue"),
    ({"metrics": [metric("external", metric={"name": "a"},
                         target={"type": "Value", "value": "1", "averageValue": "1"})]},
     "spec.metrics[0].external.target.value"),
    ({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}},
     "spec.behavior.scaleUp.stabilizationWindowSeconds"),
    ({"behavior": {"scaleDown": {"selectPolicy": "Most"}}}, "spec.behavior.scaleDown.selectPolicy"),
    ({"behavior": {"scaleDown": {"policies": []}}}, "spec.behavior.scaleDown.policies"),
    ({"behavior": {"scaleUp": {"policies": [{"type": "Nodes", "value": 1, "periodSeconds": 1}]}}},
     "spec.behavior.scaleUp.policies[0].type"),
    ({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1}]}}},
     "spec.behavior.scaleUp.policies[0].value"),
    ({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}}},
     "spec.behavior.scaleUp.policies[0].periodSeconds"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "path"), HPA_ERRORS)
def test_autoscaler_errors(spec: Object, path: str) -> None:
    assert path in wrong(fhpa(**spec))


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (cron(SCALED, schedule="every day"), "spec.rules[0].schedule"),
        (cron(SCALED, schedule="61 * * * *"), "spec.rules[0].schedule"),
        (cron(SCALED, schedule="@fortnightly"), "spec.rules[0].schedule"),
        (cron(SCALED, timeZone="Europe/Atlantis"), "spec.rules[0].timeZone"),
        (cron(SCALED, timeZone="Local"), "spec.rules[0].timeZone"),
        (cron(SCALED, timeZone=""), "spec.rules[0].timeZone"),
        (cron(SCALED, timeZone="../../etc/passwd"), "spec.rules[0].timeZone"),
        (cron(SCALED, targetReplicas=None), "spec.rules[0].targetReplicas"),
        (cron(SCALED, targetReplicas=-1), "spec.rules[0].targetReplicas"),
        (cron(SCALED, name="a" * 33), "spec.rules[0].name"),
        (cron(SCALED, successfulHistoryLimit=0), "spec.rules[0].successfulHistoryLimit"),
        (cron(SCALED, failedHistoryLimit=33), "spec.rules[0].failedHistoryLimit"),
        (cron(FEDERATED), "spec.rules[0].targetMinReplicas"),
        (cron(FEDERATED, targetMaxReplicas=0), "spec.rules[0].targetMaxReplicas"),
        (cron(FEDERATED, targetMinReplicas=3, targetMaxReplicas=2), "spec.rules[0].targetMinReplicas"),
        (cron({**FEDERATED, "kind": "CronFederatedHPA"}), "spec.scaleTargetRef.kind"),
        (
            made("CronFederatedHPA", {"scaleTargetRef": SCALED, "rules": [RULE, RULE]}),
            "spec.rules[1].name",
        ),
    ],
)
def test_cron_autoscaler_errors(obj: Object, path: str) -> None:
    assert path in wrong(obj)


BACKEND = "spec.rules[0].http.paths[0].backend"


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (made("MultiClusterIngress", {}), "spec"),
        (made("MultiClusterIngress", {"defaultBackend": {}}), "spec.defaultBackend"),
        (ingress(host="10.0.0.1"), "spec.rules[0].host"),
        (ingress(host="no good"), "spec.rules[0].host"),
        (ingress(host="a.*.com"), "spec.rules[0].host"),
        (ingress(http={"paths": []}), "spec.rules[0].http.paths"),
        (ingress({"pathType": None}), "spec.rules[0].http.paths[0].pathType"),
        (ingress({"pathType": "Regex"}), "spec.rules[0].http.paths[0].pathType"),
        (ingress({"path": "a"}), "spec.rules[0].http.paths[0].path"),
        (ingress({"path": "/a//b"}), "spec.rules[0].http.paths[0].path"),
        (ingress({"path": "/a/.."}), "spec.rules[0].http.paths[0].path"),
        (ingress({"backend": {}}), BACKEND),
        (ingress({"backend": {**SERVICE, "resource": {"kind": "A", "name": "a"}}}), BACKEND),
        (ingress({"backend": {"service": {"name": "", "port": {"number": 1}}}}), f"{BACKEND}.service.name"),
        (ingress({"backend": {"service": {"name": "a"}}}), BACKEND),
        (ingress({"backend": {"service": {"name": "a", "port": {"number": 1, "name": "a"}}}}), BACKEND),
        (ingress({"backend": {"service": {"name": "a", "port": {"number": 70000}}}}),
         f"{BACKEND}.service.port.number"),
        (ingress({"backend": {"service": {"name": "a", "port": {"name": "-"}}}}), f"{BACKEND}.service.port.name"),
        (made("MultiClusterIngress", {"defaultBackend": SERVICE, "tls": [{"hosts": ["no good"]}]}),
         "spec.tls[0].hosts[0]"),
        (made("MultiClusterIngress", {"defaultBackend": SERVICE, "ingressClassName": "No"}),
         "spec.ingressClassName"),
        (made("MultiClusterIngress", {"defaultBackend": SERVICE},
              status={"loadBalancer": {"ingress": [{"ip": "1.2.3"}]}}), "status.loadBalancer.ingress[0].ip"),
        (mcs(types=[]), "spec.types"),
        (mcs(types=["CrossCluster", "LoadBalancer"]), "spec.types"),
        (mcs(types=["NodePort"]), "spec.types[0]"),
        (mcs(ports=[{"port": 0}]), "spec.ports[0].port"),
        (mcs(ports=[{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]), "spec.ports[1].name"),
        (mcs(range={"clusterNames": ["no good"]}), "spec.range.clusterNames[0]"),
        (mcs(serviceProvisionClusters=["A"]), "spec.serviceProvisionClusters[0]"),
        (mcs(serviceConsumptionClusters=["A"]), "spec.serviceConsumptionClusters[0]"),
        (mcs(providerClusters=[{"name": "a" * 49}]), "spec.providerClusters[0].name"),
        (mcs(consumerClusters=[{"name": "-"}]), "spec.consumerClusters[0].name"),
    ],
)  # fmt: skip
def test_networking_errors(obj: Object, path: str) -> None:
    assert path in wrong(obj)


def test_types_of_a_multi_cluster_service_never_change() -> None:
    old = admitted(mcs())
    assert "field is immutable" in wrong(mcs(types=["LoadBalancer"]), old)["spec.types"]


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        ({**quota({"cpu": 1}), "metadata": {"name": "a" * 64, "namespace": "team"}}, "metadata.name"),
        (quota({"gpus": 1}), "spec.overall[gpus]"),
        (quota({"cpu": -1}), "spec.overall[cpu]"),
        (quota({"pods": "1500m"}), "spec.overall[pods]"),
        (quota({"cpu": 1}, A={"cpu": 1}), "spec.staticAssignments[0].clusterName"),
        (quota({"cpu": 1}, a={"memory": 1}), "spec.staticAssignments[0].hard[memory]"),
        (quota({"cpu": 1}, a={"cpu": "700m"}, b={"cpu": "400m"}), "spec.overall[cpu]"),
        (taints(taints=[]), "spec.taints"),
        (taints(taints=[TAINT, TAINT]), "spec.taints[1]"),
        (taints(taints=[{**TAINT, "effect": "Evict"}]), "spec.taints[0].effect"),
        (taints(taints=[{**TAINT, "key": "a b"}]), "spec.taints[0].key"),
        (taints(taints=[{**TAINT, "value": "a b"}]), "spec.taints[0].value"),
        (taints(taints=[{"key": "a"}]), "spec.taints[0].effect"),
        (taints(targetClusters={"fieldSelector": {"matchExpressions": [{"key": "city", "operator": "In", "values": ["a"]}]}}),
         "spec.targetClusters.fieldSelector.matchExpressions[0].key"),
        (taints(addOnConditions=[{"conditionType": "a", "operator": "In"}]), "spec.addOnConditions[0].statusValues"),
        (taints(removeOnConditions=[{"conditionType": "a", "operator": "Is", "statusValues": []}]),
         "spec.removeOnConditions[0].operator"),
        (made("WorkloadRebalancer", {}), "spec.workloads"),
        (made("WorkloadRebalancer", {"workloads": []}), "spec.workloads"),
        *((made("WorkloadRebalancer", {"workloads": [{k: v for k, v in SCALED.items() if k != missing}]}),
           f"spec.workloads[0].{missing}") for missing in ("apiVersion", "kind", "name")),
        (made("WorkloadRebalancer", {"workloads": [{**SCALED, "namespace": 1}]}), "spec.workloads[0].namespace"),
        (made("WorkloadRebalancer", {"workloads": [SCALED], "ttlSecondsAfterFinished": -1}),
         "spec.ttlSecondsAfterFinished"),
        (made("WorkloadRebalancer", {"workloads": [SCALED], "ttlSecondsAfterFinished": "1m"}),
         "spec.ttlSecondsAfterFinished"),
        (made("ServiceImport", {"type": "External", "ports": []}), "spec.type"),
        (made("ServiceImport", {"type": "Headless", "ports": [], "ips": ["a", "b"]}), "spec.ips"),
        (made("Remedy", {"decisionMatches": [{"clusterConditionMatch": {"operator": "Is"}}]}),
         "spec.decisionMatches[0].clusterConditionMatch.operator"),
        (made("ResourceRegistry", {"targetCluster": {}, "resourceSelectors": [],
                                   "backendStore": {"openSearch": {"addresses": ["ftp://a"]}}}),
         "spec.backendStore.openSearch.addresses[0]"),
        (made("ResourceInterpreterCustomization", {"target": {"kind": "A"}, "customizations": {}}),
         "spec.target.apiVersion"),
        (webhooks(name="short"), "webhooks[0].name"),
        (made("ResourceInterpreterWebhookConfiguration", webhooks=[WEBHOOK, WEBHOOK]), "webhooks[1].name"),
        (webhooks(clientConfig={}), "webhooks[0].clientConfig"),
        (webhooks(clientConfig={**WEBHOOK["clientConfig"], "service": {"namespace": "a", "name": "b"}}),
         "webhooks[0].clientConfig"),
        (webhooks(clientConfig={"url": "http://a"}), "webhooks[0].clientConfig.url"),
        (webhooks(clientConfig={"url": "https://user@a"}), "webhooks[0].clientConfig.url"),
        (webhooks(clientConfig={"service": {"namespace": "a", "name": "b", "port": 0}}),
         "webhooks[0].clientConfig.service.port"),
        (webhooks(timeoutSeconds=31), "webhooks[0].timeoutSeconds"),
        (webhooks(interpreterContextVersions=["v2"]), "webhooks[0].interpreterContextVersions"),
        (webhooks(rules=[{**WEBHOOK["rules"][0], "operations": ["Prune"]}]),
         "webhooks[0].rules[0].operations[0]"),
        (webhooks(rules=[{**WEBHOOK["rules"][0], "operations": ["*", "Retain"]}]),
         "webhooks[0].rules[0].operations"),
        (webhooks(rules=[{**WEBHOOK["rules"][0], "kinds": ["*", "Pod"]}]), "webhooks[0].rules[0].kinds"),
        (webhooks(rules=[{**WEBHOOK["rules"][0], "apiVersions": []}]), "webhooks[0].rules[0].apiVersions"),
    ],
)  # fmt: skip
def test_errors(obj: Object, path: str) -> None:
    assert path in wrong(obj)


def test_a_taint_policy_that_asks_for_what_it_will_not_get_is_told() -> None:
    warn = row("ClusterTaintPolicy").strategy.warn
    assert warn is not None and warn(taints(), None) == ()
    ours = {"key": "cluster.karmada.io/not-ready", "effect": "NoSchedule"}
    (told,) = warn(taints(taints=[{**ours, "effect": "NoExecute"}, ours]), None)
    assert told.startswith("spec.taints[1]: cluster.karmada.io/not-ready:NoSchedule follows from")
    never = {"conditionType": "Ready", "operator": "In", "statusValues": ["False", "false"]}
    (told,) = warn(taints(addOnConditions=[never]), None)
    assert told == "spec.addOnConditions[0].statusValues: false: conditions are True, False or Unknown"
    assert warn(taints(addOnConditions=[{"statusValues": 1}]), None) == ()


def test_a_policy_may_have_each_effect_once() -> None:
    effects = [{**TAINT, "effect": effect} for effect in ("NoSchedule", "PreferNoSchedule", "NoExecute")]
    assert wrong(taints(taints=effects)) == {}


@pytest.mark.parametrize("kind", ["ClusterTaintPolicy", *(k.kind for k in karmada.kinds() if k.unserved)])
@pytest.mark.parametrize("part", [None, "x", 1, ["x"], [{}]])
@pytest.mark.parametrize(
    "field",
    ["ports", "types", "rules", "metrics", "behavior", "taints", "overall", "staticAssignments", "tls"],
)
def test_hooks_stand_ill_typed_parts(kind: str, part: Any, field: str) -> None:
    strategy = row(kind).strategy
    obj = made(kind, {field: part}, webhooks=part)
    if strategy.default is not None:
        obj = strategy.default(obj, None, NOW, "u")
    if strategy.validate is not None:
        strategy.validate(obj, obj)


def test_a_cluster_that_would_be_pushed_to_is_told_how_it_joins() -> None:
    warn = row("Cluster").strategy.warn
    assert warn is not None
    push = {"metadata": {"name": "m1"}, "spec": {"syncMode": "Push"}}
    pull = {"metadata": {"name": "m1"}, "spec": {"syncMode": "Pull"}}
    (told,) = warn(push, None)
    assert (
        told.startswith("spec.syncMode: Push: the hub never reaches into a cluster")
        and "`towline join m1`" in told
    )
    assert warn(push, push) == warn(pull, push) == warn(pull, None) == () and warn(push, pull) == (told,)
