"""Scheduling: affinity, terms, division, what is refused and why (Karmada 3.0 to 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.world import cluster
from towline.hub.decide import scheduling
from towline.hub.decide.scheduling import Outcome, Request, View
from towline.hub.decide.scheduling.affinity import matcher
from towline.hub.decide.scheduling.members import Members

FLEET = [
    cluster("m1", {"tier": "gold"}, region="eu", provider="aws", zones=["a", "b"]),
    cluster("m2", {"tier": "gold"}, region="us", provider="gcp", zones=["c"]),
    cluster("m3", {"tier": "iron"}, region="eu"),
]


def request(placement: dict[str, Any], replicas: int = 6, **fields: Any) -> Request:
    given: dict[str, Any] = {"workload": True, "current": {}, "uid": "uid-0"}
    return Request(**given | {"placement": placement, "replicas": replicas} | fields)


def schedule(wish: Request, clusters: Sequence[Any]) -> Outcome:
    return scheduling.schedule(wish, View(Members.of(clusters)))


def verdicts(outcome: Outcome) -> Any:
    """What the first term's trial says of each cluster."""
    return outcome.traces[0].data()["clusters"]


def divided(*weights: tuple[str, int]) -> dict[str, Any]:
    rules = [{"targetCluster": {"clusterNames": [name]}, "weight": weight} for name, weight in weights]
    return {
        "replicaScheduling": {
            "replicaSchedulingType": "Divided",
            "replicaDivisionPreference": "Weighted",
            **({"weightPreference": {"staticWeightList": rules}} if rules else {}),
        }
    }


# --- affinity ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        (None, "m1 m2 m3"),
        ({}, "m1 m2 m3"),
        ({"clusterNames": ["m2", "m3", "gone"]}, "m2 m3"),
        ({"exclude": ["m2"]}, "m1 m3"),
        ({"clusterNames": ["m1", "m2"], "exclude": ["m2"]}, "m1"),
        ({"labelSelector": {"matchLabels": {"tier": "gold"}}}, "m1 m2"),
        ({"labelSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold"]}]}}, "m3"),
        ({"labelSelector": {"matchExpressions": [{"key": "tier", "operator": "Broken"}]}}, ""),
        ({"fieldSelector": {"matchExpressions": [{"key": "region", "operator": "In", "values": ["eu"]}]}}, "m1 m3"),
        ({"fieldSelector": {"matchExpressions": [{"key": "provider", "operator": "NotIn", "values": ["aws"]}]}}, "m2 m3"),
        ({"fieldSelector": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b", "x"]}]}}, "m1"),
        ({"fieldSelector": {"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["b"]}]}}, "m2 m3"),
        ({"labelSelector": {"matchLabels": {"tier": "gold"}}, "clusterNames": ["m2"]}, "m2"),
    ],
)  # fmt: skip
def test_affinity_matches(affinity: Any, expected: str) -> None:
    matches = matcher(affinity)
    assert " ".join(c["metadata"]["name"] for c in FLEET if matches(c)) == expected


# --- terms ---------------------------------------------------------------------------------------------------

TERMS = {
    "clusterAffinities": [
        {"affinityName": "none", "clusterNames": ["gone"]},
        {"affinityName": "first", "clusterNames": ["m2"]},
        {"affinityName": "second", "clusterNames": ["m1"]},
    ]
}


def test_terms_are_tried_in_order_until_one_fits() -> None:
    outcome = schedule(request(TERMS), FLEET)
    assert (outcome.affinity, outcome.targets) == ("first", {"m2": 6})


def test_terms_before_the_observed_one_are_not_tried_again() -> None:
    observed = schedule(request(TERMS, observed_affinity="second"), FLEET)
    assert (observed.affinity, observed.targets) == ("second", {"m1": 6})


def test_a_triggered_reschedule_starts_with_the_first_term() -> None:
    assert schedule(request(TERMS, observed_affinity="second", fresh=True), FLEET).affinity == "first"


def test_a_renamed_term_starts_with_the_first() -> None:
    assert schedule(request(TERMS, observed_affinity="renamed"), FLEET).affinity == "first"


def test_when_all_terms_fail_the_first_failure_is_told() -> None:
    outcome = schedule(request({"clusterAffinities": TERMS["clusterAffinities"][:1]}), FLEET)
    assert outcome == Outcome("NoClusterFit", outcome.message, {}, "none", outcome.waits)


# --- no fit, terminating -------------------------------------------------------------------------------------


def test_no_cluster_fit_counts_the_refusals() -> None:
    outcome = schedule(request({"clusterAffinity": {"clusterNames": ["gone"]}}), FLEET)
    assert (outcome.reason, outcome.targets) == ("NoClusterFit", {})
    assert outcome.message == (
        "0/3 clusters are available: 3 cluster(s) did not match the placement cluster affinity constraint."
    )
    assert verdicts(outcome)["m1"]["filter"] == "ClusterAffinity"


def test_no_cluster_at_all() -> None:
    assert schedule(request({}), []).message == "0/0 clusters are available: no cluster has joined."


def test_terminating_clusters_are_skipped() -> None:
    leaving = cluster("m1")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    outcome = schedule(request({}), [leaving, *FLEET[1:]])
    assert outcome.targets == {"m2": 6, "m3": 6}
    assert verdicts(outcome)["m1"] == {
        "filter": "Terminating",
        "message": "cluster is being removed",
    }
    assert "1 cluster(s) are being removed" in schedule(request({}), [leaving]).message


def test_a_cluster_being_evicted_from_is_no_target() -> None:
    assert schedule(request({}, evicting=frozenset({"m1"})), FLEET).targets == {"m2": 6, "m3": 6}


# --- strategies ----------------------------------------------------------------------------------------------


def test_no_workload_goes_everywhere_without_replicas() -> None:
    assert schedule(request(divided(), 0, workload=False), FLEET).targets == {"m1": 0, "m2": 0, "m3": 0}


def test_scaled_to_zero_stays_everywhere() -> None:
    assert schedule(request(divided(), 0), FLEET).targets == {"m1": 0, "m2": 0, "m3": 0}


def test_room_is_divided_and_too_little_of_it_says_so() -> None:
    by_room = {
        "replicaDivisionPreference": "Weighted",
        "weightPreference": {"dynamicWeight": "AvailableReplicas"},
    }
    dynamic = {"replicaScheduling": {"replicaSchedulingType": "Divided"} | by_room}
    roomy = [with_pods(FLEET[0], 8), with_pods(FLEET[1], 4), FLEET[2]]
    assert schedule(request(dynamic), roomy).targets == {"m1": 4, "m2": 2}
    outcome = schedule(request(dynamic, 13), roomy)
    assert (outcome.reason, outcome.targets) == ("Unschedulable", None)
    assert (
        outcome.message
        == "failed to scale up: Clusters available replicas 12 are not enough to schedule. 13 more are wanted; there is room for 8 in m1, 4 in m2."
    )


def with_pods(obj: Any, pods: int) -> Any:
    return {**obj, "status": {**obj["status"], "resourceSummary": {"allocatable": {"pods": str(pods)}}}}


def test_static_weights_ignore_spread_constraints() -> None:
    placement = divided() | {"spreadConstraints": [{"spreadByField": "cluster", "maxGroups": 1}]}
    assert schedule(request(placement), FLEET).targets == {"m1": 2, "m2": 2, "m3": 2}


@given(
    st.permutations(FLEET),
    st.integers(1, 30),
    st.sampled_from([divided(), divided(("m1", 3), ("m3", 2)), {}]),
)
def test_scheduling_does_not_depend_on_the_clusters_order(fleet: Any, replicas: int, placement: Any) -> None:
    outcome = schedule(request(placement, replicas), fleet)
    assert outcome.targets == schedule(request(placement, replicas), FLEET).targets
    if placement:
        assert sum((outcome.targets or {}).values()) == replicas
