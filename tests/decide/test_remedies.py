"""Remedies: which actions a cluster's conditions call for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decide.world import World, cluster
from towline.hub.decide import remedies
from towline.hub.decide.conditions import with_condition
from towline.hub.decide.plan import NOTHING
from towline.kube.objects import Key, Object

M1 = Key("cluster.karmada.io", "clusters", "", "m1")
DNS = "ServiceDomainNameResolutionReady"


def remedy(name: str = "r", *actions: str, **spec: Any) -> Object:
    return {
        "apiVersion": "remedy.karmada.io/v1alpha1",
        "kind": "Remedy",
        "metadata": {"name": name},
        "spec": {"actions": list(actions or ("TrafficControl",)), **spec},
    }


def match(operator: str = "Equal", status: str = "False", kind: str = DNS) -> Object:
    wanted = {"conditionType": kind, "operator": operator, "conditionStatus": status}
    return {"clusterConditionMatch": wanted}


def a_world(*objects: Object, dns: str | None = "False") -> World:
    world = World()
    at = world.put(cluster("m1"))
    if dns is not None:
        conditions = with_condition((), DNS, dns, "Reason", "", world.now)
        world.edit(at, lambda obj: obj["status"].update(conditions=conditions))
    for obj in objects:
        world.put(obj)
    return world


def actions(world: World) -> list[str] | None:
    world.settle(remedies.decide, M1)
    found: list[str] | None = world.objects[M1]["status"].get("remedyActions")
    return found


@pytest.mark.parametrize(
    ("spec", "applies"),
    [
        ({}, True),
        ({"clusterAffinity": {"clusterNames": ["m1"]}}, True),
        ({"clusterAffinity": {"clusterNames": ["m10"]}}, False),
        ({"clusterAffinity": {}}, False),
        ({"decisionMatches": [match()]}, True),
        ({"decisionMatches": [match(status="True")]}, False),
        ({"decisionMatches": [match("NotEqual", "True")]}, True),
        ({"decisionMatches": [match("NotEqual", "False")]}, False),
        ({"decisionMatches": [match("Equal", "True", "Ready")]}, False),
        ({"decisionMatches": [match("NotEqual", "True", "Ready")]}, False),
        ({"decisionMatches": [match(status="True"), match()]}, True),
        ({"decisionMatches": [{}]}, False),
        ({"decisionMatches": []}, True),
        ({"clusterAffinity": {"clusterNames": ["m10"]}, "decisionMatches": [match()]}, False),
    ],
    ids=[
        "no affinity, no match: always", "affinity names it", "affinity names another", "an affinity without names is for none",
        "equal", "not as equal asks", "not equal", "equal where it should not be", "no such condition", "no such condition, not equal",
        "one of several", "a match of nothing", "no matches", "both must hold",
    ],
)  # fmt: skip
def test_when_a_remedy_applies(spec: Object, applies: bool) -> None:
    assert actions(a_world(remedy(**spec))) == (["TrafficControl"] if applies else None)


def test_actions_of_several_remedies_are_one_sorted_set() -> None:
    world = a_world(remedy("b", "TrafficControl"), remedy("a", "TrafficControl", "Another"))
    assert actions(world) == ["Another", "TrafficControl"]


def test_actions_go_with_what_called_for_them() -> None:
    world = a_world(remedy(decisionMatches=[match()]))
    assert actions(world) == ["TrafficControl"]
    conditions = with_condition((), DNS, "True", "Reason", "", world.now)
    world.edit(M1, lambda obj: obj["status"].update(conditions=conditions))
    assert actions(world) is None
    assert world.objects[M1]["status"]["conditions"] == conditions, "nothing else is touched"


def test_a_remedy_that_is_being_deleted_calls_for_nothing() -> None:
    leaving = remedy()
    leaving["metadata"]["finalizers"] = ["example.com/hold"]
    world = a_world(leaving)
    assert actions(world) == ["TrafficControl"]
    world.delete(Key(*remedies.REMEDIES, "", "r"))
    assert actions(world) is None


def test_a_cluster_that_is_not_there_needs_none() -> None:
    assert remedies.decide(World(), M1, 0.0) == NOTHING
