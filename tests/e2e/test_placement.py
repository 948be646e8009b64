"""Placement as its users see it: the examples, applied as they are with kubectl to a fleet of six clusters in three regions, and
what becomes of their placements when policies, replicas, taints, labels and room change. Real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import yaml

from tests.e2e.harness import Fleet, condition, eventually, running_fleet
from tests.e2e.objects import APPS, deployment, namespace, policy
from tests.e2e.placing import (
    APP,
    CORES,
    MEMBERS,
    POLICIES,
    allocatable,
    apply,
    at_member,
    binding,
    by_room,
    cores_used,
    explain,
    flat,
    held,
    labelled,
    needing,
    placed,
    propagation,
    running,
    same,
    scale,
    selector,
    tainted,
    targets,
    unscheduled,
    what_if,
)
from towline.cli.demo import PLACES, TIERS

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    flags = {name: ("--nodes", str(nodes), "--node-cpu", str(CORES)) for name, nodes in MEMBERS.items()}
    join = {
        name: ("--region", region, "--zone", zone, "--label", f"tier={TIERS[n % len(TIERS)]}")
        for n, (name, (region, zone)) in enumerate(zip(MEMBERS, PLACES, strict=True))
    }
    with running_fleet(
        tmp_path_factory.mktemp("placement"), members=tuple(MEMBERS), flags_of=flags, join_flags=join
    ) as fleet:
        eventually(lambda: all(allocatable(fleet, name) for name in MEMBERS), what="room is counted")
        yield fleet


@pytest.fixture
def space(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own."""
    words = request.node.name.removeprefix("test_").replace("[", "-").rstrip("]")
    name = "".join(c if c.isalnum() else "-" for c in words.lower())[-60:].strip("-")
    fleet.hub.request("POST", "/api/v1/namespaces", namespace(name))
    yield name
    fleet.hub.delete(f"/api/v1/namespaces/{name}")


# --- the examples, unchanged ---------------------------------------------------------------------------------

PLACED: dict[str, dict[str, int]] = {
    "duplicated": {"member1": 6, "member2": 6},
    "label-selector": {"member1": 6, "member3": 6, "member5": 6},
    "field-selector": {"member1": 6, "member2": 6, "member3": 6},
    "exclude": {"member2": 6, "member4": 6},
    "static-weights": {"member1": 3, "member2": 2, "member3": 1},
    "equal-weights": {"member1": 3, "member2": 3},
    "dynamic-weights": {"member1": 1, "member2": 2, "member3": 3},
    "aggregated": {"member6": 6},
    "spread-by-cluster": {"member3": 6, "member6": 6},
    "spread-by-region": {"member2": 6, "member6": 6},
    "spread-by-zone": {"member1": 1, "member5": 2, "member6": 3},
    "spread-by-label": {"member3": 6, "member6": 6},
    "ordered-affinities": {"member4": 6, "member5": 6},
    "overflow-affinities": {"member1": 6},
    "schedule-priority": {"member1": 6},
    "priority": {"member2": 6},
    "dependent-overrides": {"member1": 6},
}
"""Replicas of the Deployment nginx by member, as the members' own APIs say."""


@pytest.mark.parametrize("name", PLACED)
def test_propagation(fleet: Fleet, space: str, name: str) -> None:
    apply(fleet, space, propagation(name), APP / "deployment.yaml")
    placed(fleet, space, PLACED[name])


def test_every_kind(fleet: Fleet, space: str) -> None:
    apply(fleet, space, APP, propagation("every-kind"))
    placed(fleet, space, {"member1": 4, "member2": 2})
    divided = {"statefulsets/nginx-cache": ("replicas", 2, 1), "jobs/nginx-warm": ("completions", 2, 1)}
    for name, (field, first, second) in divided.items():
        shares = {"member1": first, "member2": second}
        same(lambda name=name, field=field: {m: o["spec"][field] for m, o in held(fleet, space, name).items()}, shares)  # fmt: skip
    for name in ("daemonsets/nginx-logs", "cronjobs/nginx-report", "services/nginx", "configmaps/nginx"):
        same(lambda name=name: held(fleet, space, name).keys(), {"member1", "member2"})
    fleet.kubectl("rollout", "status", "deployment/nginx", "-n", space, "--timeout=20s")
    fleet.kubectl("wait", "job/nginx-warm", "-n", space, "--for=condition=Complete", "--timeout=20s")


def test_lazy(fleet: Fleet, space: str) -> None:
    apply(fleet, space, APP / "deployment.yaml", propagation("lazy"))
    told = eventually(lambda: [line for line in explain(fleet, space) if "lazy" in line.lower()])
    assert running(fleet, space) == {}, told
    scale(fleet, space, 3)
    placed(fleet, space, {"member1": 3})


def test_preemption(fleet: Fleet, space: str) -> None:
    apply(fleet, space, APP / "deployment.yaml", propagation("duplicated"))
    placed(fleet, space, PLACED["duplicated"])
    apply(fleet, space, propagation("preemption"))
    placed(fleet, space, {"member3": 6})


def test_preserve(fleet: Fleet, space: str) -> None:
    apply(fleet, space, APP / "deployment.yaml", propagation("preserve"))
    placed(fleet, space, {"member1": 6})
    fleet.kubectl("delete", "deployment/nginx", "-n", space, "--timeout=20s")
    assert running(fleet, space) == {"member1": 6}


def test_on_policy_delete(fleet: Fleet, space: str) -> None:
    apply(fleet, space, APP / "deployment.yaml", propagation("on-policy-delete"))
    placed(fleet, space, {"member1": 6})
    fleet.kubectl("delete", "pp/nginx", "-n", space, "--timeout=20s")
    placed(fleet, space, {})


def test_suspension(fleet: Fleet, space: str) -> None:
    apply(fleet, space, APP / "deployment.yaml", propagation("suspension"))
    placed(fleet, space, {"member1": 6})
    assert targets(fleet, space) == {"member1": 6, "member2": 6}
    assert explain(fleet, space)[1].startswith("Nothing new is sent to member2 for as long as")
    fleet.kubectl("patch", "pp/nginx", "-n", space, "--type=merge", "-p", '{"spec":{"suspension":null}}')
    placed(fleet, space, {"member1": 6, "member2": 6})


@pytest.mark.parametrize("name", ["workload-affinity", "workload-anti-affinity"])
def test_groups_of_workloads(fleet: Fleet, space: str, name: str) -> None:
    apply(fleet, space, propagation(name))
    front, back = (eventually(partial(running, fleet, space, d)).keys() for d in ("front", "back"))
    assert len(front) == len(back) == 1
    assert (front == back) == (name == "workload-affinity")


def test_cluster_policies(fleet: Fleet) -> None:
    folder = POLICIES / "cluster-propagation"
    rules = [folder / f"{name}.yaml" for name in ("namespace-wide", "cluster-role", "custom-resource")]
    apply(fleet, "team-a", *rules)
    apply(fleet, "team-a", APP)
    placed(fleet, "team-a", {"member1": 6, "member3": 6, "member5": 6})
    for name in ("services/nginx", "configmaps/nginx"):
        same(lambda name=name: held(fleet, "team-a", name).keys(), {"member1", "member3", "member5"})
    assert held(fleet, "team-a", "statefulsets/nginx-cache") == {}, "no policy selects it"
    role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/shop-reader"
    same(lambda: {m for m, api in fleet.members.items() if api.get(role)}, {"member1", "member2"})
    fleet.kubectl("wait", "crd/guestbooks.example.org", "--for=condition=Established", "--timeout=20s")
    apply(fleet, "team-a", folder / "guestbook.yaml")
    book = "/apis/example.org/v1/namespaces/team-a/guestbooks/visitors"
    same(lambda: {m for m in MEMBERS if fleet.members[m].get(book)}, {"member1", "member2"})
    fleet.kubectl("delete", "--wait=false", *(word for rule in rules for word in ("-f", str(rule))))


OVERRIDDEN: dict[str, dict[str, dict[str, Any]]] = {
    "image": {
        "member1": {"image": "registry.example.org/nginx:1.29"},
        "member2": {"image": "nginx:1.29-alpine"},
    },
    "image-predicate": {"member1": {"image": "bitnami/nginx:1.29"}, "member2": {"image": "bitnami/nginx:1.29"}},
    "command-args": {
        "member1": {"command": ["nginx-debug"], "args": ["daemon off;", "-q"]},
        "member2": {"command": ["nginx"], "args": ["-g", "daemon off;"]},
    },
    "labels-annotations": {
        "member1": {"app": "nginx-eu", "law": "gdpr", "example.org/contact": "eu-team", "absent": None},
        "member2": {"app": "nginx-eu", "law": "gdpr", "example.org/contact": "eu-team", "absent": None},
    },
    "plaintext": {
        "member1": {"priorityClassName": "gold", "replicas": 6},
        "member2": {"priorityClassName": None, "replicas": 1},
    },
    "variables": {
        "member1": {"example.org/site": "eu-west/member1"},
        "member2": {"example.org/site": "eu-west/member2"},
    },
    "cluster-wide": {
        "member1": {"image": "nginx:1.29", "managed-for": None},
        "member2": {"image": "nginx:1.29-bookworm", "managed-for": "shop"},
    },
    "cluster-wide image": {
        "member1": {"image": "registry.example.org/nginx:1.29"},
        "member2": {"image": "nginx:1.29-alpine", "managed-for": "shop"},
    },
}  # fmt: skip
"""What each member has of the Deployment, of its container, its labels and its annotations."""


@pytest.mark.parametrize("names", OVERRIDDEN)
def test_overrides(fleet: Fleet, space: str, names: str) -> None:
    rules = [POLICIES / "override" / f"{name}.yaml" for name in names.split()]
    apply(fleet, space, *rules, propagation("duplicated"), APP / "deployment.yaml")
    expected = OVERRIDDEN[names]

    def seen() -> dict[str, dict[str, Any]]:
        copies = held(fleet, space, "deployments/nginx")
        return {m: {field: flat(obj).get(field) for field in expected[m]} for m, obj in copies.items()}

    same(seen, expected)
    fleet.kubectl("delete", "-n", space, "--wait=false", "-f", str(rules[0]))
    plain = {"image": "nginx:1.29", "app": "nginx", "replicas": 6, "command": ["nginx"]}
    if len(rules) == 1:
        same(lambda: {m: {f: flat(o)[f] for f in plain} for m, o in held(fleet, space, "deployments/nginx").items()},
             {"member1": plain, "member2": plain})  # fmt: skip


def test_override_of_text_in_a_field(fleet: Fleet, space: str) -> None:
    apply(fleet, space, APP / "configmap.yaml", POLICIES / "override" / "field.yaml")
    fleet.apply(policy("nginx", space, ["member1", "member2", "member3"], "v1 ConfigMap"))

    def seen() -> dict[str, tuple[Any, Any]]:
        copies = held(fleet, space, "configmaps/nginx").items()
        return {m: (yaml.safe_load(c["data"]["settings.yaml"]), json.loads(c["data"]["limits.json"])) for m, c in copies}  # fmt: skip

    info = {"log": {"level": "info"}, "cache": "memory"}
    same(
        seen,
        {
            "member1": ({"log": {"level": "debug"}}, {"connections": 100, "bodyMiB": 8}),
            "member2": (info, {"connections": 100, "bodyMiB": 64}),
            "member3": (info, {"connections": 100, "bodyMiB": 8}),
        },
    )


# --- what changes --------------------------------------------------------------------------------------------


def test_moving(fleet: Fleet, space: str) -> None:
    apply(fleet, space, propagation("duplicated"), APP / "deployment.yaml")
    placed(fleet, space, {"member1": 6, "member2": 6})
    stays = held(fleet, space, "deployments/nginx")["member2"]["metadata"]["uid"]
    fleet.kubectl("edit", "pp/nginx", "-n", space, KUBE_EDITOR="sed -i s/member1/member4/")
    placed(fleet, space, {"member2": 6, "member4": 6})
    assert held(fleet, space, "deployments/nginx")["member2"]["metadata"]["uid"] == stays


def test_scaling_moves_nothing(fleet: Fleet, space: str) -> None:
    apply(fleet, space, propagation("dynamic-weights"), APP / "deployment.yaml")
    before = placed(fleet, space, PLACED["dynamic-weights"])
    for replicas in (11, 12, 7, 1, 0, 3):
        scale(fleet, space, replicas)
        eventually(lambda r=replicas: sum(targets(fleet, space).values()) == r, what=f"{replicas} in all")  # type: ignore[misc]
        after = targets(fleet, space)
        up = replicas > sum(before.values())
        assert up or after.keys() <= before.keys(), f"{before} -> {after}"
        for name in MEMBERS:
            was, now = before.get(name, 0), after.get(name, 0)
            assert now >= was if up else now <= was, f"{name}: {before} -> {after}"
        before = after
    placed(fleet, space, before)


def test_a_taint_keeps_away_what_is_new_only(fleet: Fleet, space: str) -> None:
    apply(fleet, space, propagation("tolerations"), APP / "deployment.yaml")
    placed(fleet, space, {"member5": 6, "member6": 6})
    fleet.apply(policy("late", space, ["member5", "member6"]))
    with tainted(fleet, "member6", {"key": "dedicated", "value": "batch", "effect": "NoSchedule"}):
        fleet.apply(deployment("late", space))
        placed(fleet, space, {"member5": 2}, "late")
        assert running(fleet, space) == {"member5": 6, "member6": 6}
        line = next(line for line in explain(fleet, space, "late") if line.startswith("member6"))
        assert line.endswith("TaintToleration: had untolerated taint {dedicated=batch:NoSchedule}")
        fleet.kubectl("delete", "deployment/nginx", "-n", space, "--timeout=20s")
        apply(fleet, space, APP / "deployment.yaml")
        placed(fleet, space, {"member5": 6, "member6": 6})
    placed(fleet, space, {"member5": 2, "member6": 2}, "late")


def test_labels_of_clusters_decide(fleet: Fleet, space: str) -> None:
    apply(fleet, space, propagation("label-selector"), APP / "deployment.yaml")
    placed(fleet, space, PLACED["label-selector"])
    forecast = what_if(fleet, "deployment/nginx", "-n", space, "--label", "member2=tier=gold", "--label", "member5=tier=silver")  # fmt: skip
    assert [line.split()[2:] for line in forecast[3:]] == [["member2", "-", "6"], ["member5", "6", "-"]]
    with labelled(fleet, member2="gold", member5="silver"):
        placed(fleet, space, {"member1": 6, "member2": 6, "member3": 6})
    placed(fleet, space, PLACED["label-selector"])


def test_rebalancing(fleet: Fleet) -> None:
    space = "default"
    with tainted(fleet, "member3", {"key": "away", "effect": "NoSchedule"}):
        apply(fleet, space, propagation("dynamic-weights"), APP / "deployment.yaml")
        placed(fleet, space, {"member1": 2, "member2": 4})
    try:
        apply(fleet, space, POLICIES / "rebalance" / "workload-rebalancer.yaml")
        placed(fleet, space, PLACED["dynamic-weights"])
    finally:
        fleet.kubectl("delete", "deploy/nginx", "pp/nginx", "workloadrebalancer/nginx", "-n", space, "--timeout=20s")  # fmt: skip


# --- room ----------------------------------------------------------------------------------------------------


@pytest.fixture
def emptied(fleet: Fleet) -> None:
    """No pod of an earlier test asks for cores any more."""
    eventually(lambda: not any(cores_used(fleet, name) for name in MEMBERS), what="the members are empty")


def test_room_is_divided_and_when_there_is_none_it_is_waited_for(
    fleet: Fleet, space: str, emptied: None
) -> None:
    fleet.apply(by_room("all", space, "member1", "member2"), needing("big", space, 9))
    placed(fleet, space, {"member1": 3, "member2": 6}, "big")
    fleet.apply(needing("next", space, 3))
    placed(fleet, space, {"member1": 1, "member2": 2}, "next")
    fleet.apply(needing("late", space, 2))
    told = "failed to scale up: Clusters available replicas 0 are not enough to schedule. 2 more are wanted."
    assert unscheduled(fleet, space, "late") == ("Unschedulable", told)
    assert explain(fleet, space, "late")[0] == f"Deployment late cannot be placed: {told}"
    assert running(fleet, space, "late") == {}
    scale(fleet, space, 6, "big")
    eventually(lambda: sum(running(fleet, space, "late").values()) == 2, what="it heals when room comes")
    eventually(lambda: condition(binding(fleet, space, "late"), "Scheduled") == "True")


def test_overflow(fleet: Fleet, space: str, emptied: None) -> None:
    apply(fleet, space, propagation("overflow-affinities"))
    fleet.apply(needing("nginx", space, 6))
    placed(fleet, space, {"member1": 4, "member2": 2})
    scale(fleet, space, 5)
    placed(fleet, space, {"member1": 4, "member2": 1})
    scale(fleet, space, 4)
    placed(fleet, space, {"member1": 4})


def test_many_at_once_take_what_there_is_and_no_more(fleet: Fleet, space: str, emptied: None) -> None:
    members = ("member1", "member3", "member4")
    room = {name: MEMBERS[name] * CORES for name in members}
    count = sum(room.values())
    assert count == 20
    fleet.apply(by_room("all", space, *members), *(needing(f"d{n}", space, 1) for n in range(count)))
    same(lambda: {m: len(at_member(fleet, m, f"{APPS}/{space}/deployments")) for m in members}, room)
    fleet.apply(needing("more", space, 1))
    unscheduled(fleet, space, "more")
    pods = f"/api/v1/namespaces/{space}/pods"
    for member in members:
        phases = ["Running"] * room[member]
        same(lambda m=member: [pod["status"]["phase"] for pod in at_member(fleet, m, pods)], phases)


def test_the_higher_priority_gets_the_room_that_comes(fleet: Fleet, space: str, emptied: None) -> None:
    fleet.apply(by_room("blocker", space, "member1"), needing("blocker", space, 4))
    placed(fleet, space, {"member1": 4}, "blocker")
    low = by_room("low", space, "member1", resourceSelectors=[selector("low")])
    fleet.apply(low, needing("low", space, 4))
    unscheduled(fleet, space, "low")
    apply(fleet, space, propagation("schedule-priority"))
    fleet.apply(needing("nginx", space, 4))
    unscheduled(fleet, space, "nginx")
    fleet.kubectl("delete", "deployment/blocker", "-n", space)
    placed(fleet, space, {"member1": 4})
    assert targets(fleet, space, "low") == {}


# --- what cannot be ------------------------------------------------------------------------------------------


def test_a_group_too_few(fleet: Fleet, space: str) -> None:
    placement = {
        "clusterAffinity": {"labelSelector": {"matchLabels": {"tier": "platinum"}}},
        "spreadConstraints": [{"spreadByField": "cluster", "minGroups": 2}],
    }
    fleet.apply(policy("all", space, placement=placement), deployment("nginx", space))
    reason, message = unscheduled(fleet, space)
    assert reason == "NoClusterFit"
    assert message == (
        "0/6 clusters are available: 6 cluster(s) did not match the placement cluster affinity constraint."
    )
    with labelled(fleet, member4="platinum"):
        few = "the number of feasible clusters is less than spreadConstraint.MinGroups"
        eventually(lambda: few in " ".join(unscheduled(fleet, space)))
        with labelled(fleet, member5="platinum"):
            placed(fleet, space, {"member4": 2, "member5": 2})


def test_more_groups_than_the_fleet_has(fleet: Fleet, space: str) -> None:
    spread = {
        "spreadConstraints": [
            {"spreadByField": "region", "minGroups": 4},
            {"spreadByField": "cluster", "minGroups": 4},
        ]
    }
    fleet.apply(policy("all", space, placement=spread), deployment("nginx", space))
    assert unscheduled(fleet, space)[1] == (
        "the number of feasible regions is less than spreadConstraint.MinGroups: 3 feasible, minGroups 4"
    )
    fleet.kubectl("edit", "pp/all", "-n", space, KUBE_EDITOR="sed -i 's/minGroups: 4/minGroups: 3/'")
    eventually(lambda: len(running(fleet, space)) >= 3)


def test_an_override_that_is_not_there(fleet: Fleet, space: str) -> None:
    fleet.apply(policy("all", space, ["member1"], dependentOverrides=["nginx-image"]))
    apply(fleet, space, APP / "deployment.yaml")
    text = eventually(lambda: next(line for line in explain(fleet, space) if "nginx-image" in line))
    assert "OverridePolicy" in text
    assert running(fleet, space) == {}
    apply(fleet, space, POLICIES / "override" / "image.yaml")
    same(lambda: {m: flat(o)["image"] for m, o in held(fleet, space, "deployments/nginx").items()},
         {"member1": "registry.example.org/nginx:1.29"})  # fmt: skip
