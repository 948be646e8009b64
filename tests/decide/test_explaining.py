"""Explain: every way in which a template can stand, in words and as data; and what changed since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.decide.test_overrides import over
from tests.decide.world import World, cluster, configmap, deployment, namespace, policy, selector
from towline.hub.decide import propagation
from towline.hub.decide.explaining import UNASKED, Recorded, explain
from towline.hub.decide.scheduling import View
from towline.kube.objects import Key, Object

WEB = Key("apps", "deployments", "shop", "web")
BINDING = Key("work.karmada.io", "resourcebindings", "shop", "web-deployment")
GOLD = {"clusterAffinity": {"labelSelector": {"matchLabels": {"tier": "gold"}}}}
DIVIDED: dict[str, Any] = {
    **GOLD,
    "replicaScheduling": {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted"},
}
TAINT = {"key": "broken", "effect": "NoSchedule"}


def member(name: str) -> Key:
    return Key("cluster.karmada.io", "clusters", "", name)


def fleet(*policies: Object, template: Object | None = None) -> World:
    """m1 and m2 are gold, m3 is not."""
    world = World()
    world.put(namespace())
    for name, tier in (("m1", "gold"), ("m2", "gold"), ("m3", "iron")):
        world.put(cluster(name, {"tier": tier}))
    for one in policies:
        world.put(one)
    world.put(template or deployment())
    return world


def settled(world: World, key: Key = WEB) -> Recorded | None:
    """The last decision that placed it, as the hub would have it on record."""
    recorded = None
    for _ in range(5):
        plan = propagation.decide(world, key, world.now)
        if plan.details and (plan.writes or recorded is None):
            recorded = Recorded(world.now, world.revision, plan.reasons, plan.details)
        if not plan.writes:
            break
        world.apply(plan)
    return recorded


def explained(world: World, recorded: Recorded | None = None, key: Key = WEB) -> Any:
    return explain(world, key, View.of(world, world.now), world.now, recorded)


# --- how it stands -------------------------------------------------------------------------------------------


def suspend(world: World) -> None:
    world.edit(BINDING, lambda rb: rb["spec"].update(suspension={"scheduling": True}))


def ungovern(world: World) -> None:
    key = Key("policy.karmada.io", "propagationpolicies", "shop", "web")
    world.edit(key, lambda rule: rule["spec"].update(resourceSelectors=[selector(configmap())]))


def end(world: World) -> None:
    world.delete(WEB)


WEB_POLICY = policy("web", [selector(deployment(), name="web")], DIVIDED)


@pytest.mark.parametrize(
    ("rule", "change", "state", "summary", "step"),
    [
        (WEB_POLICY, None, "Placed", "Deployment web goes to m1 (2), m2 (1); 2 of 3 clusters can take it.", None),
        (None, None, "NoPolicy", "No policy selects Deployment web: it stays on the hub.",
         "Create a PropagationPolicy in shop whose resourceSelectors select this apps/v1 Deployment."),
        (WEB_POLICY, ungovern, "Unclaimed",
         "No policy governs Deployment web any more; its copies stay in m1 (2), m2 (1).",
         "Create a policy that selects it, or delete it: its copies go with it."),
        (policy("web", [selector(deployment())], GOLD, dependentOverrides=["late"]), None, "Waiting",
         "Deployment web waits for dependent overrides: OverridePolicy late not found.",
         "Create these override policies, or take them out of the policy's dependentOverrides."),
        (policy("web", [selector(deployment())], {"clusterAffinity": {"clusterNames": ["m9"]}}), None, "NoClusterFit",
         "Deployment web cannot be placed: 0/3 clusters are available: 3 cluster(s) did not match the placement "
         "cluster affinity constraint.",
         "Change the placement, or the clusters: the list of clusters says what refused each."),
        (WEB_POLICY, suspend, "Suspended",
         "Deployment web waits: scheduling is suspended (spec.suspension.scheduling). It stays in m1 (2), m2 (1).",
         "Take suspension.scheduling off its binding to have it scheduled."),
        (policy("web", [selector(deployment())], GOLD, suspension={"dispatchingOnClusters": {"clusterNames": ["m2"]}}),
         None, "Placed", "Deployment web goes to m1 (3), m2 (3); 2 of 3 clusters can take it.",
         "Nothing new is sent to m2 for as long as the policy's suspension says so."),
        (policy("web", [selector(deployment())], GOLD, schedulePriority={"priorityClassName": "high"}), None, "Waiting",
         'Deployment web waits for PriorityClass "high" of schedulePriority: not found.',
         "Create it, or take schedulePriority off the policy."),
        (None, lambda world: world.put(policy("late", [selector(deployment())], GOLD, activationPreference="Lazy")),
         "Waiting", "Deployment web waits: policy(shop/late) is lazy: it takes effect when this object changes.",
         "Change it (an annotation is enough), or take activationPreference off the policy."),
        (WEB_POLICY, end, "Ending", "Deployment web is being deleted: copies may exist in m1, m2.", None),
    ],
    ids=["placed", "no policy", "governed no more", "dependent override", "no cluster fits", "suspended", "not sent",
         "priority class", "lazy", "ending"],
)  # fmt: skip
def test_every_state_is_a_sentence_and_a_next_step(
    rule: Object | None, change: Callable[[World], None] | None, state: str, summary: str, step: str | None
) -> None:
    world = fleet(*([rule] if rule else []))
    settled(world)
    if change is not None:
        change(world)
        settled(world)
    told = explained(world)
    assert (told["state"], told["summary"], told.get("next")) == (state, summary, step)


def test_what_is_the_hubs_own_is_not_propagated() -> None:
    world = fleet()
    settings = configmap(namespace="kube-system")
    key = world.put(settings)
    assert (
        explained(world, key=key)["summary"]
        == "ConfigMap settings is not propagated: namespace kube-system is the hub's own."
    )


def test_copies_that_could_not_be_applied_are_told() -> None:
    world = fleet(WEB_POLICY)
    settled(world)
    failed = {"clusterName": "m2", "applied": False, "appliedMessage": "no such API"}
    world.edit(BINDING, lambda rb: rb["status"].update(aggregatedStatus=[{"clusterName": "m1"}, failed]))
    assert explained(world)["binding"]["notApplied"] == {"m2": "no such API"}


def test_explaining_writes_nothing_and_repeats_itself() -> None:
    world = fleet(WEB_POLICY)
    recorded = settled(world)
    before = world.revision
    assert explained(world, recorded) == explained(world, recorded)
    assert world.revision == before


# --- which policy --------------------------------------------------------------------------------------------


def test_policies_say_who_won_who_lost_and_who_does_not_select_it() -> None:
    world = fleet(
        policy("web", [selector(deployment(), name="web")], GOLD),
        policy("all", [selector(deployment())], GOLD),
        policy("maps", [selector(configmap())], GOLD),
        policy("api", [selector(deployment(), name="api")], GOLD),
        policy("labels", [selector(deployment(), labelSelector={"matchLabels": {"a": "b"}})], GOLD),
        policy("wide", [selector(deployment())], GOLD, namespace=None),
    )
    told = explained(world)["policy"]
    assert told["name"] == "policy(shop/web)"
    assert {row["policy"]: row["verdict"] for row in told["considered"]} == {
        "policy(shop/web)": "chosen",
        "policy(shop/all)": "outranked",
        "cluster policy(wide)": "passed over",
    }
    assert {row["policy"]: row["why"] for row in told["others"]} == {
        "policy(shop/maps)": "selects no apps/v1 Deployment",
        "policy(shop/api)": "selects apps/v1 Deployment of other names: api",
        "policy(shop/labels)": "its labelSelector does not match the template's labels",
    }
    assert told["othersCount"] == 3


def test_a_claimed_template_stays_with_its_policy_and_says_so() -> None:
    world = fleet(WEB_POLICY)
    settled(world)
    world.put(policy("first", [selector(deployment(), name="web")], GOLD, priority=9))
    rows = {row["policy"]: row for row in explained(world)["policy"]["considered"]}
    assert rows["policy(shop/web)"]["verdict"] == "claimed"
    assert rows["policy(shop/first)"]["why"] == (
        "the template stays with policy(shop/web), which claimed it first"
    )


# --- how it was decided --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "filter_name", "message"),
    [
        (lambda c: c["metadata"].update(labels={}), "ClusterAffinity",
         "cluster(s) did not match the placement cluster affinity constraint"),
        (lambda c: c["spec"].update(taints=[TAINT]), "TaintToleration",
         "cluster(s) had untolerated taint {broken:NoSchedule}"),
        (lambda c: c["status"].update(apiEnablements=[]), "APIEnablement",
         "cluster(s) did not have the API resource"),
        (lambda c: c["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"), "Terminating",
         "cluster is being removed"),
    ],
    ids=["affinity", "taint", "api", "terminating"],
)  # fmt: skip
def test_each_refusal_names_its_filter(
    change: Callable[[Object], None], filter_name: str, message: str
) -> None:
    world = fleet(WEB_POLICY)
    world.edit(member("m2"), change)
    told = explained(world, settled(world))
    assert told["decision"]["terms"][0]["clusters"]["m2"] == {"filter": filter_name, "message": message}
    assert told["summary"].endswith("; 1 of 3 clusters can take it.")


def test_every_affinity_term_that_was_tried_is_there() -> None:
    terms = [
        {"affinityName": "first", "clusterNames": ["m8"]},
        {"affinityName": "second", "clusterNames": ["m3"]},
    ]
    world = fleet(policy("web", [selector(deployment())], {"clusterAffinities": terms}))
    told = explained(world, settled(world))
    tried = told["decision"]["terms"]
    assert [term["affinity"] for term in tried] == ["first", "second"]
    assert "filter" in tried[0]["clusters"]["m3"] and "filter" not in tried[1]["clusters"]["m3"]
    assert told["summary"] == "Deployment web goes to m3 (3); 1 of 3 clusters can take it."


def test_the_division_is_shown() -> None:
    world = fleet(WEB_POLICY)
    decision = explained(world, settled(world))["decision"]
    assert decision["source"] == "recorded" and decision["cause"] == "never scheduled"
    assert decision["terms"][0]["division"]["strategy"] == "StaticWeight"


class Agents:
    """Two agents that could be asked; one has said something."""

    able = ("m1", "m2")

    def said(self, key: str) -> Mapping[str, int]:
        return {"m1": 7}

    def when(self, key: str, cluster: str) -> float:
        return 0.0


def test_no_agent_is_asked_but_what_they_said_counts() -> None:
    dynamic = {"dynamicWeight": "AvailableReplicas"}
    placement = {
        **DIVIDED,
        "replicaScheduling": {**DIVIDED["replicaScheduling"], "weightPreference": dynamic},
    }
    world = fleet(policy("web", [selector(deployment())], placement))
    summary = {"allocatable": {"cpu": "40", "pods": "30"}}
    for name in ("m1", "m2"):
        world.edit(member(name), lambda found: found["status"].update(resourceSummary=summary))
    view = replace(View.of(world, world.now), answers=Agents())
    (term,) = explain(world, WEB, view, world.now)["decision"]["terms"]
    assert [term["clusters"][name]["available"] for name in ("m1", "m2")] == [7, 30]


def test_what_only_agents_can_know_is_not_foretold() -> None:
    """The sums say that there is room, the agents said that there is none: what is stored is told."""
    dynamic = {**DIVIDED["replicaScheduling"], "weightPreference": {"dynamicWeight": "AvailableReplicas"}}
    world = fleet(policy("web", [selector(deployment())], {**DIVIDED, "replicaScheduling": dynamic}))
    recorded = settled(world)
    short = "failed to scale up: Clusters available replicas 0 are not enough to schedule. 3 more are wanted."
    assert explained(world, recorded)["summary"] == f"Deployment web cannot be placed: {short}"
    for name in ("m1", "m2"):
        summary = {"allocatable": {"cpu": "40", "pods": "30"}}
        world.edit(
            member(name),
            lambda found, summary=summary: found["status"].update(resourceSummary=summary),  # type: ignore[misc]
        )
    assert explained(world, recorded)["summary"].startswith("Deployment web is about to go to ")
    told = explain(world, WEB, replace(View.of(world, world.now), answers=Agents()), world.now, recorded)
    assert told["summary"] == f"Deployment web cannot be placed: {short}"
    assert told["since"]["differences"][:2] == [UNASKED, "outcome: Unschedulable -> Success"]


def test_overrides_are_told_by_the_clusters_where_they_count() -> None:
    world = fleet(WEB_POLICY)
    settled(world)
    assert "overrides" not in explained(world)
    label = {"overriders": {"labelsOverrider": [{"operator": "add", "value": {"a": "b"}}]}}
    rules = [{**label, "targetCluster": {"clusterNames": ["m2"]}}, label]
    world.put(over("tag", resourceSelectors=[selector(deployment())], overrideRules=rules))
    rule = {"policy": "override policy(shop/tag)", "overriders": ["labelsOverrider"]}
    first, second = ({**rule, "rule": f"spec.overrideRules[{n}]"} for n in (0, 1))
    assert explained(world)["overrides"] == [
        {"clusters": ["m1"], "rules": [second]},
        {"clusters": ["m2"], "rules": [first, second]},
    ]


# --- since ---------------------------------------------------------------------------------------------------


def test_nothing_changed() -> None:
    world = fleet(WEB_POLICY)
    assert explained(world, settled(world))["since"] == {"same": True}


def test_a_decision_that_is_not_on_record_is_made_again() -> None:
    world = fleet(WEB_POLICY)
    settled(world)
    told = explained(world)
    assert told["decision"]["source"] == "now" and "revision" not in told["decision"]
    assert told["since"] == {
        "unknown": "It was decided before this hub began to keep account of it; this is how it would be decided now."
    }


@pytest.mark.parametrize(
    ("change", "since"),
    [
        (lambda world: world.edit(member("m3"), lambda c: c["metadata"].update(labels={"tier": "gold"})),
         {"differences": [
             "cluster m3 can take it now (was refused: did not match the placement cluster affinity constraint)"],
          "fresh": [{"name": n, "replicas": 1} for n in ("m1", "m2", "m3")]}),
        (lambda world: world.put(cluster("m4", {"tier": "gold"}, taints=[TAINT])),
         {"differences": ["cluster m4 joined; it is refused: had untolerated taint {broken:NoSchedule}"]}),
        (lambda world: world.put(cluster("m4", {"tier": "iron"})), {}),
        (lambda world: world.delete(member("m3")), {}),
        (lambda world: world.edit(WEB, lambda web: web["spec"].update(replicas=5)),
         {"differences": ["cluster m1: 2 replicas -> 3 replicas", "cluster m2: 1 replicas -> 2 replicas"],
          "now": [{"name": "m1", "replicas": 3}, {"name": "m2", "replicas": 2}]}),
        (lambda world: world.edit(member("m2"), lambda c: c["spec"].update(taints=[TAINT])),
         {"stays": ["cluster m2 keeps its copy; a new one would be refused: had untolerated taint {broken:NoSchedule}"]}),
    ],
    ids=["label", "joined", "joined, not meant", "left, not meant", "replicas", "taint on a target"],
)  # fmt: skip
def test_what_changed_since_is_said(change: Callable[[World], None], since: Any) -> None:
    world = fleet(WEB_POLICY)
    recorded = settled(world)
    change(world)
    told = explained(world, recorded)["since"]
    assert told == {"same": "differences" not in since, **since}


def test_what_is_about_to_change_is_not_told_as_if_it_was_so() -> None:
    world = fleet(WEB_POLICY)
    settled(world)
    world.edit(WEB, lambda web: web["spec"].update(replicas=6))
    told = explained(world)
    assert told["summary"] == (
        "Deployment web is about to go to m1 (3), m2 (3), and is in m1 (2), m2 (1) so far; 2 of 3 clusters can take it."
    )
