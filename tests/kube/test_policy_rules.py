"""Every rule that a PropagationPolicy and a ClusterPropagationPolicy must keep, a row each (Karmada 1.2, 7.1, 7.2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kube.test_karmada import AFFINITY, UID, admitted, policy, row, wrong
from towline.kube import names
from towline.kube.objects import Object

KINDS = ["PropagationPolicy", "ClusterPropagationPolicy"]
POD = {"apiVersion": "v1", "kind": "Pod"}
DIVIDED = {"replicaSchedulingType": "Divided"}
GROUPS = {"replicaScheduling": {**DIVIDED, "replicaDivisionPreference": "Aggregated"}}


def placement(**fields: Any) -> Object:
    return {"placement": fields}


def affinity(**fields: Any) -> Object:
    return placement(clusterAffinity=fields)


def terms(*found: Object, **more: Any) -> Object:
    return placement(clusterAffinities=list(found), **more)


def toleration(**fields: Any) -> Object:
    return placement(clusterTolerations=[fields])


def spread(*constraints: Object) -> Object:
    return placement(spreadConstraints=list(constraints))


def failing(**application: Any) -> Object:
    rule = {"decisionConditions": {}, **application}
    return {"propagateDeps": True, "failover": {"application": rule}}


def returning(**failback: Any) -> Object:
    return {"failover": {"cluster": {"failback": failback}}}


def stopping(**cluster: Any) -> Object:
    return {"failover": {"cluster": {"purgeMode": "Directly", "stopAfterSeconds": 30, **cluster}}}


def weighted(**weight: Any) -> Object:
    return placement(replicaScheduling={**DIVIDED, "weightPreference": {"staticWeightList": [weight]}})


TERM = {"affinityName": "a", **AFFINITY}
OVERFLOWING = {**TERM, "overflowAffinities": [{"affinityName": "b"}]}
STATE = {"statePreservation": {"rules": [{"aliasLabelName": "a b", "jsonPath": "{.a}"}]}}
REGION = {"key": "region", "operator": "In", "values": ["eu"]}

REFUSED: list[tuple[str, Object, str, str]] = [
    # rule, spec, field, part of the message
    ("at least one selector", {"resourceSelectors": []}, "resourceSelectors", "at least 1 item"),
    ("a selector has an apiVersion", {"resourceSelectors": [{"kind": "Pod"}]}, "resourceSelectors[0].apiVersion", "Required"),
    ("a selector has a kind", {"resourceSelectors": [{"apiVersion": "v1"}]}, "resourceSelectors[0].kind", "Required"),
    ("a selector's label selector is one", {"resourceSelectors": [{**POD, "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}]}, "resourceSelectors[0].labelSelector.matchExpressions[0].operator", "not a valid selector operator"),
    ("preemption is Always or Never", {"preemption": "Sometimes"}, "preemption", "Unsupported value"),
    ("preemption Always needs names", {"preemption": "Always", "resourceSelectors": [{**POD, "name": "a"}, POD]}, "resourceSelectors[1].name", "preemption is Always"),
    ("priority has 32 bits", {"priority": 2**31}, "priority", "less than or equal to 2147483647"),
    ("activationPreference is Lazy", {"activationPreference": "Eager"}, "activationPreference", "Unsupported value"),
    ("conflictResolution is Abort or Overwrite", {"conflictResolution": "Merge"}, "conflictResolution", "Unsupported value"),
    ("onPolicyDelete is Keep or Remove", {"onPolicyDelete": "Forget"}, "onPolicyDelete", "Unsupported value"),
    ("dependentOverrides are names", {"dependentOverrides": [1]}, "dependentOverrides[0]", "string"),
    ("suspension of all or of some clusters", {"suspension": {"dispatching": True, "dispatchingOnClusters": {"clusterNames": ["a"]}}}, "suspension", "cannot co-exist"),
    ("schedulePriority has a source", {"schedulePriority": {"priorityClassName": "a"}}, "schedulePriority.priorityClassSource", "Required"),
    ("schedulePriority has a class", {"schedulePriority": {"priorityClassSource": "KubePriorityClass"}}, "schedulePriority.priorityClassName", "Required"),
    ("the source is KubePriorityClass", {"schedulePriority": {"priorityClassSource": "Other", "priorityClassName": "a"}}, "schedulePriority.priorityClassSource", "Unsupported value"),
    # affinities
    ("one of affinity and affinities", placement(clusterAffinity=AFFINITY, clusterAffinities=[TERM]), "placement", "clusterAffinities cannot co-exist with clusterAffinity"),
    ("field keys", affinity(fieldSelector={"matchExpressions": [{**REGION, "key": "name"}]}), "placement.clusterAffinity.fieldSelector.matchExpressions[0].key", "Unsupported value"),
    ("field operators", affinity(fieldSelector={"matchExpressions": [{**REGION, "operator": "Exists"}]}), "placement.clusterAffinity.fieldSelector.matchExpressions[0].operator", "Unsupported value"),
    ("field values", affinity(fieldSelector={"matchExpressions": [{**REGION, "values": []}]}), "placement.clusterAffinity.fieldSelector.matchExpressions[0].values", "must be specified"),
    ("label selector", affinity(labelSelector={"matchLabels": {"no good": "a"}}), "placement.clusterAffinity.labelSelector.matchLabels", "must consist of alphanumeric"),
    ("label values", affinity(labelSelector={"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}), "placement.clusterAffinity.labelSelector.matchExpressions[0].values", "must be specified"),
    ("a term has a name", terms({"affinityName": ""}), "placement.clusterAffinities[0].affinityName", "at least 1 char"),
    ("of up to 32 characters", terms({"affinityName": "a" * 33}), "placement.clusterAffinities[0].affinityName", "32"),
    ("that is a label key", terms({"affinityName": "no good"}), "placement.clusterAffinities[0].affinityName", "must consist of alphanumeric"),
    ("and unique", terms(TERM, TERM), "placement.clusterAffinities[1].affinityName", "unique"),
    ("a term's fields", terms({**TERM, "fieldSelector": {"matchExpressions": [{**REGION, "key": "planet"}]}}), "placement.clusterAffinities[0].fieldSelector.matchExpressions[0].key", "Unsupported value"),
    ("overflow not without division", terms(OVERFLOWING), "placement.clusterAffinities[0].overflowAffinities", "Forbidden"),
    ("overflow not with static weights", terms(OVERFLOWING, replicaScheduling=DIVIDED), "placement.clusterAffinities[0].overflowAffinities", "Forbidden"),
    ("overflow not when duplicated", terms(OVERFLOWING, replicaScheduling={"replicaSchedulingType": "Duplicated"}), "placement.clusterAffinities[0].overflowAffinities", "Forbidden"),
    ("overflow from a term that selects", terms({"affinityName": "a", "overflowAffinities": [{"affinityName": "b"}]}, **GROUPS), "placement.clusterAffinities[0]", "must select clusters"),
    ("overflows have other names than their term", terms({**TERM, "overflowAffinities": [{"affinityName": "a"}]}, **GROUPS), "placement.clusterAffinities[0].overflowAffinities[0].affinityName", "unique"),
    ("overflows have different names", terms({**TERM, "overflowAffinities": [{"affinityName": "b"}] * 2}, **GROUPS), "placement.clusterAffinities[0].overflowAffinities[1].affinityName", "unique"),
    ("an overflow's fields", terms({**TERM, "overflowAffinities": [{"affinityName": "b", "fieldSelector": {"matchExpressions": [{**REGION, "key": "planet"}]}}]}, **GROUPS), "placement.clusterAffinities[0].overflowAffinities[0].fieldSelector.matchExpressions[0].key", "Unsupported value"),
    # tolerations
    ("a toleration's key is a label key", toleration(key="no good", operator="Exists"), "placement.clusterTolerations[0].key", "must consist of alphanumeric"),
    ("no key only with Exists", toleration(value="a"), "placement.clusterTolerations[0].operator", "must be Exists when `key` is empty"),
    ("operators of tolerations", toleration(key="a", operator="In"), "placement.clusterTolerations[0].operator", "Unsupported value"),
    ("Exists has no value", toleration(key="a", operator="Exists", value="b"), "placement.clusterTolerations[0].operator", "value must be empty"),
    ("Equal has a label's value", toleration(key="a", value="no good"), "placement.clusterTolerations[0].value", "alphanumeric"),
    ("Lt has a number", toleration(key="a", operator="Lt", value="low"), "placement.clusterTolerations[0].value", "64-bit integer"),
    ("Gt has a number", toleration(key="a", operator="Gt", value="007"), "placement.clusterTolerations[0].value", "leading zeros"),
    ("effects of tolerations", toleration(key="a", operator="Exists", effect="Never"), "placement.clusterTolerations[0].effect", "Unsupported value"),
    ("tolerationSeconds only with NoExecute", toleration(key="a", operator="Exists", tolerationSeconds=1), "placement.clusterTolerations[0].effect", "must be 'NoExecute'"),
    # spread constraints
    ("by field or by label", spread({"spreadByField": "cluster", "spreadByLabel": "a"}), "placement.spreadConstraints[0]", "co-exist"),
    ("fields to spread by", spread({"spreadByField": "planet"}), "placement.spreadConstraints[0].spreadByField", "Unsupported value"),
    ("a label to spread by is a label key", spread({"spreadByLabel": "no good"}), "placement.spreadConstraints[0].spreadByLabel", "must consist of alphanumeric"),
    ("each field once", spread({"spreadByField": "cluster"}, {"spreadByField": "cluster"}), "placement.spreadConstraints[1].spreadByField", "Duplicate value"),
    ("fields need one by cluster", spread({"spreadByField": "region"}), "placement.spreadConstraints", "cluster spread constraint"),
    ("no negative minGroups", spread({"minGroups": -1}), "placement.spreadConstraints[0].minGroups", "lower than 0"),
    ("no negative maxGroups", spread({"maxGroups": -1}), "placement.spreadConstraints[0].maxGroups", "lower than 0"),
    ("maxGroups not below minGroups", spread({"minGroups": 3, "maxGroups": 2}), "placement.spreadConstraints[0].maxGroups", "lower than minGroups"),
    # division
    ("types of division", placement(replicaScheduling={"replicaSchedulingType": "Halved"}), "placement.replicaScheduling.replicaSchedulingType", "Unsupported value"),
    ("preferences of division", placement(replicaScheduling={"replicaDivisionPreference": "Spread"}), "placement.replicaScheduling.replicaDivisionPreference", "Unsupported value"),
    ("dynamic weights", placement(replicaScheduling={"weightPreference": {"dynamicWeight": "Free"}}), "placement.replicaScheduling.weightPreference.dynamicWeight", "Unsupported value"),
    ("a weight is at least 1", weighted(targetCluster={}, weight=0), "placement.replicaScheduling.weightPreference.staticWeightList[0].weight", "greater than or equal to 1"),
    ("a weight has clusters", weighted(weight=1), "placement.replicaScheduling.weightPreference.staticWeightList[0].targetCluster", "Required"),
    ("a weight's fields", weighted(targetCluster={"fieldSelector": {"matchExpressions": [{**REGION, "operator": "Gt"}]}}, weight=1), "placement.replicaScheduling.weightPreference.staticWeightList[0].targetCluster.fieldSelector.matchExpressions[0].operator", "Unsupported value"),
    ("groups by a label key", placement(workloadAffinity={"affinity": {"groupByLabelKey": "no good"}}), "placement.workloadAffinity.affinity.groupByLabelKey", "must consist of alphanumeric"),
    ("groups apart by a label key", placement(workloadAffinity={"antiAffinity": {"groupByLabelKey": ""}}), "placement.workloadAffinity.antiAffinity.groupByLabelKey", "name part"),
    ("together and apart by different keys", placement(workloadAffinity={"affinity": {"groupByLabelKey": "app"}, "antiAffinity": {"groupByLabelKey": "app"}}), "placement.workloadAffinity.antiAffinity.groupByLabelKey", "must differ"),
    # failover
    ("application failover has conditions", {"propagateDeps": True, "failover": {"application": {}}}, "failover.application.decisionConditions", "Required"),
    ("application failover takes dependencies along", {"failover": {"application": {"decisionConditions": {}}}}, "propagateDeps", "must be true"),
    ("tolerated for no negative time", failing(decisionConditions={"tolerationSeconds": -1}), "failover.application.decisionConditions.tolerationSeconds", "greater than or equal to 0"),
    ("ways to purge", failing(purgeMode="Slowly"), "failover.application.purgeMode", "Unsupported value"),
    ("ways to purge in a cluster failover", {"failover": {"cluster": {"purgeMode": "Never"}}}, "failover.cluster.purgeMode", "Unsupported value"),
    ("time enough to be heard", stopping(stopAfterSeconds=29), "failover.cluster.stopAfterSeconds", "greater than or equal to 30"),
    ("what must never run twice is not left behind", {**stopping(), "preserveResourcesOnDeletion": True}, "preserveResourcesOnDeletion", "would run on"),
    ("what must never run twice leaves directly", stopping(purgeMode="Gracefully"), "failover.cluster.purgeMode", "must be Directly"),
    ("also where the application fails", {**stopping(), "propagateDeps": True, "failover": {**stopping()["failover"], "application": {"decisionConditions": {}, "purgeMode": "Never"}}}, "failover.application.purgeMode", "must be Directly"),
    ("ways to come back", returning(mode="Perhaps"), "failover.cluster.failback.mode", "Unsupported value"),
    ("well for no negative time", returning(mode="Return", stabilizationSeconds=-1), "failover.cluster.failback.stabilizationSeconds", "greater than or equal to 0"),
    ("at least one comes back at a time", returning(mode="Return", maxConcurrent=0), "failover.cluster.failback.maxConcurrent", "greater than or equal to 1"),
    ("grace only when purged gracefully", failing(purgeMode="Never", gracePeriodSeconds=3), "failover.application.gracePeriodSeconds", "only takes effect"),
    ("no grace when purged directly", failing(purgeMode="Directly", gracePeriodSeconds=3), "failover.application.gracePeriodSeconds", "only takes effect"),
    ("no grace when purged directly, by its former name", failing(purgeMode="Immediately", gracePeriodSeconds=3), "failover.application.gracePeriodSeconds", "only takes effect"),
    ("grace of some time", failing(gracePeriodSeconds=0), "failover.application.gracePeriodSeconds", "must be greater than 0"),
    ("labels for an application's state", failing(**STATE), "failover.application.statePreservation.rules[0].aliasLabelName", "must consist of alphanumeric"),
    ("labels for a cluster's state", {"failover": {"cluster": STATE}}, "failover.cluster.statePreservation.rules[0].aliasLabelName", "must consist of alphanumeric"),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("spec", "field", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused(kind: str, spec: Object, field: str, text: str) -> None:
    assert text in wrong(policy(kind, **spec))[f"spec.{field}"]


ACCEPTED: list[tuple[str, Object]] = [
    ("no placement", {}),
    ("a toleration below a number", toleration(key="a", operator="Lt", value="-7")),
    ("a toleration above a number", toleration(key="a", operator="Gt", value="950", effect="NoExecute")),
    ("every taint tolerated", toleration(operator="Exists")),
    ("spread by a label alone", spread({"spreadByLabel": "example.com/rack", "minGroups": 2})),
    ("spread by zone and cluster", spread({"spreadByField": "zone"}, {"spreadByField": "cluster"})),
    ("spread by provider and cluster", spread({"spreadByField": "provider"}, {"spreadByField": "cluster"})),
    ("overflow of aggregated replicas", terms(OVERFLOWING, **GROUPS)),
    (
        "overflow of dynamic weights",
        terms(OVERFLOWING, replicaScheduling={**DIVIDED, "weightPreference": {"dynamicWeight": "AvailableReplicas"}}),
    ),
    ("affinities beside an empty affinity list", placement(clusterAffinity=AFFINITY, clusterAffinities=[])),
    ("no dispatching at all", {"suspension": {"dispatching": True}}),
    ("dispatching but to some", {"suspension": {"dispatching": False, "dispatchingOnClusters": {"clusterNames": ["a"]}}}),
    ("failover after no time", failing(decisionConditions={"tolerationSeconds": 0}, purgeMode="Directly")),
    ("what must never run twice", stopping()),
    ("back at once", returning(mode="Return", stabilizationSeconds=0, maxConcurrent=1)),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(kind: str, spec: Object) -> None:
    assert wrong(policy(kind, **spec)) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_to_preserve_what_fails_over_leaves_it_there_twice(kind: str) -> None:
    warn = row(kind).strategy.warn
    assert warn is not None
    (told,) = warn(policy(kind, failover={"cluster": {}}, preserveResourcesOnDeletion=True), None)
    assert told.startswith("spec.preserveResourcesOnDeletion: a copy that fails over is left where it was")
    assert warn(policy(kind, preserveResourcesOnDeletion=True), None) == ()
    assert warn(policy(kind, failover={"cluster": {}}), None) == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("former", "mode", "grace"), [("Immediately", "Directly", None), ("Graciously", "Gracefully", 600)]
)
def test_purge_modes_by_their_former_names(kind: str, former: str, mode: str, grace: int | None) -> None:
    spec = failing(purgeMode=former)
    spec["failover"]["cluster"] = {"purgeMode": former}
    given = policy(kind, **spec)
    stored = admitted(given)["spec"]["failover"]
    assert (stored["application"]["purgeMode"], stored["cluster"]["purgeMode"]) == (mode, mode)
    assert stored["application"].get("gracePeriodSeconds") == grace and wrong(given) == {}
    warn = row(kind).strategy.warn
    assert warn is not None and warn(policy(kind, **failing(purgeMode=mode)), None) == ()
    assert [text.split(": ")[0] for text in warn(given, None)] == [
        "spec.failover.application.purgeMode", "spec.failover.cluster.purgeMode",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("before", "after"), [({}, "other"), ({"schedulerName": "mine"}, "default-scheduler")]
)
def test_the_scheduler_never_changes(kind: str, before: Object, after: str) -> None:
    old = admitted(policy(kind, **before))
    new = {**old, "spec": {**old["spec"], "schedulerName": after}}
    assert list(wrong(new, old)) == ["spec.schedulerName"]
    assert wrong(old, old) == {}


@pytest.mark.parametrize(
    ("kind", "label"), [(KINDS[0], names.POLICY_ID), (KINDS[1], names.CLUSTER_POLICY_ID)]
)
def test_the_permanent_id_never_changes(kind: str, label: str) -> None:
    old = admitted(policy(kind))
    assert old["metadata"]["labels"] == {label: UID}
    new = {**old, "metadata": {**old["metadata"], "labels": {label: "other"}}}
    assert "field is immutable" in wrong(new, old)[f"metadata.labels[{label}]"]
    without = {**old, "metadata": {**old["metadata"], "labels": {}}}
    assert admitted(without, old)["metadata"]["labels"] == {label: UID}


def test_a_policy_selects_in_its_own_namespace_and_a_cluster_policy_in_any() -> None:
    elsewhere: dict[str, Any] = {"resourceSelectors": [{**POD, "namespace": "other"}]}
    assert list(wrong(policy(**elsewhere))) == ["spec.resourceSelectors[0].namespace"]
    assert wrong(policy("ClusterPropagationPolicy", **elsewhere)) == {}


def test_what_is_left_out_is_filled_in() -> None:
    spec = admitted(policy())["spec"]
    given = {
        "priority": 0,
        "preemption": "Never",
        "conflictResolution": "Abort",
        "schedulerName": "default-scheduler",
        "onPolicyDelete": "Keep",
    }
    assert {field: spec[field] for field in given} == given
