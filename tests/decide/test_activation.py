"""Lazy activation: what a policy says waits for the template's next change (Karmada 2.1)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decide.test_propagation import (
    BINDING,
    BY_KIND,
    BY_NAME,
    WEB,
    a_world,
    claimed_by,
    clusters_of,
    propagate,
)
from tests.decide.world import World, deployment, policy
from towline.hub.decide import policy_deletion
from towline.hub.decide.activation import TEMPLATE_HASH
from towline.kube import names
from towline.kube.objects import Object


def at(*clusters: str) -> Object:
    return {"clusterAffinity": {"clusterNames": list(clusters)}}


def lazy(*clusters: str, **spec: Any) -> Object:
    return policy("web", [BY_KIND], at(*clusters), activationPreference="Lazy", **spec)


def scale(world: World, replicas: int) -> None:
    world.edit(WEB, lambda obj: obj["spec"].update(replicas=replicas))


def mark(world: World, field: str, key: str, value: str) -> None:
    world.edit(WEB, lambda obj: obj["metadata"].setdefault(field, {}).update({key: value}))


def place(world: World, *clusters: str, **spec: Any) -> None:
    world.edit(world.key(lazy()), lambda obj: obj["spec"].update(placement=at(*clusters), **spec))


def test_a_template_that_comes_after_the_policy_is_propagated_at_once() -> None:
    world = a_world(lazy("m1"), deployment())
    propagate(world)
    assert clusters_of(world) == {"m1": 3}


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda world: scale(world, 4), True),
        (lambda world: mark(world, "labels", "tier", "gold"), True),
        (lambda world: mark(world, "annotations", "note", "hello"), True),
        (lambda world: mark(world, "labels", names.SKIP_AUTO_PROPAGATION, "true"), True),
        (lambda world: mark(world, "annotations", names.CONFLICT_RESOLUTION, "overwrite"), False),
        (lambda world: world.edit(WEB, lambda obj: obj.update(status={"replicas": 3})), False),
    ],
    ids=["its spec", "a label", "an annotation", "the mark against propagation", "a mark of the system", "its status"],
)  # fmt: skip
@pytest.mark.parametrize("bound", [True, False])
def test_what_counts_as_a_change(change: Any, counts: bool, bound: bool) -> None:
    world = a_world(*((lazy("m1"), deployment()) if bound else (deployment(), lazy("m2"))))
    propagate(world)
    place(world, "m2")
    assert propagate(world)[0].writes == (), "the policy alone changes nothing"
    change(world)
    propagate(world)
    if counts:
        assert list(clusters_of(world)) == ["m2"]
    else:
        assert clusters_of(world) == {"m1": 3} if bound else BINDING not in world.objects


def test_a_policy_that_comes_after_the_template_claims_it_and_waits() -> None:
    world = a_world(deployment(), lazy("m1"))
    first = propagate(world)[0]
    assert [e.reason for e in first.events] == ["LazyActivation"]
    assert claimed_by(world.objects[WEB]) == "web" and BINDING not in world.objects
    assert names.PROPAGATION_FINALIZER not in world.objects[WEB]["metadata"].get("finalizers", [])
    scale(world, 5)
    propagate(world)
    assert clusters_of(world) == {"m1": 5}
    assert TEMPLATE_HASH not in world.objects[WEB]["metadata"]["annotations"]


def test_one_that_begins_to_select_waits_too() -> None:
    world = a_world(lazy("m1", resourceSelectors=[{**BY_NAME, "name": "db"}]), deployment())
    propagate(world)
    world.edit(world.key(lazy()), lambda obj: obj["spec"].update(resourceSelectors=[BY_NAME]))
    propagate(world)
    assert claimed_by(world.objects[WEB]) == "web" and BINDING not in world.objects


def test_one_that_waits_can_stop_being_lazy() -> None:
    world = a_world(deployment(), lazy("m1"))
    propagate(world)
    world.edit(world.key(lazy()), lambda obj: obj["spec"].pop("activationPreference"))
    propagate(world)
    assert clusters_of(world) == {"m1": 3}
    assert TEMPLATE_HASH not in world.objects[WEB]["metadata"]["annotations"]


def test_one_that_waits_can_be_deleted_and_leaves_nothing() -> None:
    world = a_world(deployment(), lazy("m1"))
    before = world.objects[WEB]
    propagate(world)
    world.delete(world.key(lazy()))
    propagate(world)
    world.settle(policy_deletion.decide, world.key(lazy()))
    assert world.key(lazy()) not in world.objects
    for field in ("labels", "annotations", "finalizers"):
        assert world.objects[WEB]["metadata"].get(field) == before["metadata"].get(field)
    world.put(policy("next", [BY_KIND]))
    propagate(world)
    assert clusters_of(world) == {"m1": 3, "m2": 3}


def test_a_policy_that_becomes_lazy_with_another_placement_does_not_move_anything() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND], at("m1")))
    propagate(world)
    place(world, "m2", activationPreference="Lazy")
    propagate(world)
    assert clusters_of(world) == {"m1": 3}
    scale(world, 4)
    propagate(world)
    assert clusters_of(world) == {"m2": 4}


def test_a_template_that_changed_as_its_policy_became_lazy_is_followed() -> None:
    world = a_world(deployment(), policy("web", [BY_KIND], at("m1")))
    propagate(world)
    scale(world, 7)
    place(world, "m2", activationPreference="Lazy")
    propagate(world)
    assert clusters_of(world) == {"m1": 7}


def test_the_claim_switches_to_a_lazy_policy_and_the_binding_stays() -> None:
    world = a_world(deployment(), policy("all", [BY_KIND], at("m1"), None))
    propagate(world)
    world.put(policy("web", [BY_NAME], at("m2"), activationPreference="Lazy", preemption="Always"))
    propagate(world)
    assert claimed_by(world.objects[WEB]) == claimed_by(world.objects[BINDING]) == "web"
    assert clusters_of(world) == {"m1": 3}
    scale(world, 4)
    propagate(world)
    assert clusters_of(world) == {"m2": 4}


def test_the_end_of_laziness_applies_what_waited() -> None:
    world = a_world(lazy("m1"), deployment())
    propagate(world)
    place(world, "m2")
    propagate(world)
    world.edit(world.key(lazy()), lambda obj: obj["spec"].pop("activationPreference"))
    propagate(world)
    assert clusters_of(world) == {"m2": 3}
    assert TEMPLATE_HASH not in world.objects[BINDING]["metadata"]["annotations"]
