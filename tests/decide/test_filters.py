"""Filters: one table for each, named after the rule (Karmada 3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decide.world import APIS, cluster
from towline.hub.decide import scheduling
from towline.hub.decide.scheduling import Outcome, Request, View
from towline.hub.decide.scheduling.assigned import Assigned, Share
from towline.hub.decide.scheduling.members import Members
from towline.kube.objects import Key, Object

TAINT = {"key": "maintenance", "value": "yes", "effect": "NoSchedule"}


def fleet() -> list[Object]:
    return [
        cluster("m1", {"tier": "gold", "rack": "1"}, region="eu", provider="aws", zones=["a"]),
        cluster("m2", {"tier": "gold"}, region="us", provider="gcp", zone="b", taints=[TAINT]),
        cluster("m3", {"tier": "iron"}, taints=[TAINT | {"effect": "NoExecute"}]),
        without_deployments(cluster("m4", {"rack": "2"}, region="eu")),
    ]


def without_deployments(obj: Object) -> Object:
    rows = [row for row in APIS if row["groupVersion"] != "apps/v1"]
    return {**obj, "status": {"apiEnablements": rows}}


def decide(assigned: Assigned | None = None, clusters: list[Object] | None = None, **wish: Any) -> Outcome:
    given: dict[str, Any] = {
        "placement": {},
        "replicas": 6,
        "workload": True,
        "current": {},
        "uid": "u",
        "api_version": "apps/v1",
        "kind": "Deployment",
        "namespace": "shop",
    }
    request = Request(**given | wish)
    view = View(Members.of(fleet() if clusters is None else clusters), assigned or Assigned())
    return scheduling.schedule(request, view)


def refused(outcome: Outcome) -> dict[str, tuple[str, str]]:
    rows = outcome.traces[0].data()["clusters"]
    return {name: (row["filter"], row["message"]) for name, row in rows.items() if "filter" in row}


def spread(**by: str) -> dict[str, Any]:
    """Static weights, which ignore how many groups there are; the property is needed all the same."""
    return {
        "spreadConstraints": [{**by, "minGroups": 1}],
        "replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted"},
    }


TOLERANT = {"clusterTolerations": [{"key": "maintenance", "operator": "Exists"}]}


@pytest.mark.parametrize(
    ("wish", "left"),
    [
        pytest.param({}, "m1", id="TaintToleration and APIEnablement keep new work away"),
        pytest.param({"kind": "Job", "api_version": "batch/v1"}, "m1 m4", id="APIEnablement: the kind is served"),
        pytest.param({"kind": "Deployment", "api_version": "apps/v2"}, "", id="APIEnablement: the version counts"),
        pytest.param({"current": {"m4": 2}}, "m1 m4", id="APIEnablement: a present target stays"),
        pytest.param({"current": {"m2": 2, "m3": 2}}, "m1 m2 m3", id="TaintToleration: a present target stays"),
        pytest.param({"placement": TOLERANT}, "m1 m2 m3", id="TaintToleration: tolerated, both effects"),
        pytest.param(
            {"placement": {"clusterTolerations": [{"key": "maintenance", "value": "yes", "effect": "NoExecute"}]}},
            "m1 m3",
            id="TaintToleration: tolerated, one effect",
        ),
        pytest.param({"placement": {"clusterAffinity": {"exclude": ["m1"]}}}, "", id="ClusterAffinity"),
        pytest.param({"placement": TOLERANT, "evicting": frozenset({"m1"})}, "m2 m3", id="ClusterEviction"),
        pytest.param(
            {"current": {"m1": 2}, "evicting": frozenset({"m1"})}, "", id="ClusterEviction: also of a present target"
        ),
        pytest.param({"placement": TOLERANT | spread(spreadByField="region")}, "m1 m2", id="SpreadConstraint: region"),
        pytest.param({"placement": TOLERANT | spread(spreadByField="provider")}, "m1 m2", id="SpreadConstraint: provider"),
        pytest.param({"placement": TOLERANT | spread(spreadByField="zone")}, "m1 m2", id="SpreadConstraint: zone"),
        pytest.param({"placement": TOLERANT | spread(spreadByLabel="rack")}, "m1", id="SpreadConstraint: label"),
        pytest.param({"placement": TOLERANT | spread(spreadByField="cluster")}, "m1 m2 m3", id="SpreadConstraint: cluster"),
    ],
)  # fmt: skip
def test_filter(wish: dict[str, Any], left: str) -> None:
    assert " ".join(sorted(decide(**wish).targets or {})) == left


def test_every_refusal_names_its_filter_and_its_message() -> None:
    assert refused(decide()) == {
        "m2": ("TaintToleration", "cluster(s) had untolerated taint {maintenance=yes:NoSchedule}"),
        "m3": ("TaintToleration", "cluster(s) had untolerated taint {maintenance=yes:NoExecute}"),
        "m4": ("APIEnablement", "cluster(s) did not have the API resource"),
    }
    spread_by_zone = refused(decide(placement=TOLERANT | spread(spreadByField="zone")))
    assert spread_by_zone["m3"] == ("SpreadConstraint", "cluster(s) did not have zones property")


def test_the_condition_counts_what_refused_how_many() -> None:
    outcome = decide(clusters=fleet()[1:], placement={"clusterAffinity": {"exclude": ["m3"]}})
    assert outcome.reason == "NoClusterFit"
    assert outcome.message == (
        "0/3 clusters are available: 1 cluster(s) did not have the API resource, "
        "1 cluster(s) did not match the placement cluster affinity constraint, "
        "1 cluster(s) had untolerated taint {maintenance=yes:NoSchedule}."
    )


def test_who_fits_nowhere_waits_for_what_its_filters_look_at() -> None:
    waits = decide(clusters=fleet()[1:], placement={"clusterAffinity": {"exclude": ["m3"]}}).waits
    assert waits == {"label", "taint", "api", "cluster"}
    assert decide().waits == frozenset()


# --- workload affinity: what others of the namespace have ------------------------------------------------------

OPEN = [cluster("m1"), cluster("m2"), cluster("m3")]


def others(avoiding: bool, *placed: tuple[str, str, str]) -> Assigned:
    """(namespace, group, clusters) of other bindings."""
    assigned = Assigned()
    for at, (namespace, group, targets) in enumerate(placed):
        key = Key("work.karmada.io", "resourcebindings", namespace, f"other-{at}")
        assigned.put(key, Share(frozenset(targets.split()), ((namespace, group, avoiding),)))
    return assigned


@pytest.mark.parametrize(
    ("placed", "wish", "left"),
    [
        pytest.param((), {}, "m1 m2 m3", id="the first of a group goes anywhere"),
        pytest.param((("shop", "app=web", "m1 m2"),), {}, "m1 m2", id="where the group is"),
        pytest.param((("shop", "app=web", "m1 m2"), ("shop", "app=web", "m2 m3")), {}, "m2", id="where all of it are"),
        pytest.param((("other", "app=web", "m1"),), {}, "m1 m2 m3", id="another namespace does not count"),
        pytest.param((("shop", "app=db", "m1"),), {}, "m1 m2 m3", id="another group does not count"),
        pytest.param((("shop", "app=web", "m1"),), {"current": {"m3": 2}}, "m1 m3", id="a present target stays"),
    ],
)  # fmt: skip
def test_workload_affinity(placed: Any, wish: dict[str, Any], left: str) -> None:
    outcome = decide(others(False, *placed), OPEN, affinity_group="app=web", **wish)
    assert " ".join(sorted(outcome.targets or {})) == left


@pytest.mark.parametrize(
    ("placed", "wish", "left"),
    [
        pytest.param((), {}, "m1 m2 m3", id="nobody to avoid"),
        pytest.param((("shop", "app=web", "m1"), ("shop", "app=web", "m2")), {}, "m3", id="where none of the group is"),
        pytest.param((("other", "app=web", "m1"),), {}, "m1 m2 m3", id="another namespace does not count"),
        pytest.param((("shop", "app=web", "m1"),), {"current": {"m1": 2}}, "m1 m2 m3", id="a present target stays"),
    ],
)  # fmt: skip
def test_workload_anti_affinity(placed: Any, wish: dict[str, Any], left: str) -> None:
    outcome = decide(others(True, *placed), OPEN, anti_affinity_group="app=web", **wish)
    assert " ".join(sorted(outcome.targets or {})) == left
    taken = refused(outcome)
    assert all(row[0] == "WorkloadAntiAffinity" for row in taken.values())


def test_a_binding_does_not_avoid_itself() -> None:
    key = Key("work.karmada.io", "resourcebindings", "shop", "other-0")
    outcome = decide(
        others(True, ("shop", "app=web", "m1")), OPEN, anti_affinity_group="app=web", binding=key
    )
    assert sorted(outcome.targets or {}) == ["m1", "m2", "m3"]
