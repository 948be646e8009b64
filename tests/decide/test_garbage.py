"""Garbage collection: who goes with whom, and who waits for whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decide.world import World, configmap, namespace
from towline.hub.decide import garbage
from towline.kube import deletion, names
from towline.kube.objects import Key, Object, is_deleting, uid_of


def key(name: str, space: str = "shop") -> Key:
    return Key("", "configmaps", space, name)


def reference(owner: Object, **fields: Any) -> Object:
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata.get("uid", "gone"),
        **fields,
    }


def make(world: World, name: str, *owners: Object, space: str = "shop", **metadata: Any) -> Object:
    obj = configmap(name, space)
    obj["metadata"].update(metadata)
    if owners:
        obj["metadata"]["ownerReferences"] = list(owners)
    return world.objects[world.put(obj)]


def remove(world: World, at: Key, policy: deletion.Cascade = "") -> None:
    """A DELETE as the API carries it out."""
    obj = world.objects[at]
    left = deletion.finalizers("Background", obj["metadata"].get("finalizers") or [], policy)
    if left:
        world._store(at, deletion.marked(obj, "2026-01-01T00:00:00Z", left, counted=False))
    else:
        world._drop(at)


def rest(world: World) -> None:
    """Decide every object until nothing is to be done."""
    for _ in range(200):
        moved = False
        for at in list(world.objects):
            plan = garbage.decide(world, at, world.now)
            world.apply(plan)
            moved = moved or bool(plan.writes)
        if not moved:
            return
    raise AssertionError("it does not come to rest")


def left(world: World) -> list[str]:
    return sorted(at.name for at in world.objects)


GONE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gone"}}


def test_what_has_lost_all_owners_goes_and_its_dependents_after_it() -> None:
    world = World()
    a = make(world, "a", reference(GONE))
    make(world, "b", reference(a))
    make(world, "free")
    rest(world)
    assert left(world) == ["free"]


def test_one_owner_that_stays_is_enough_and_the_others_are_forgotten() -> None:
    world = World()
    stays = reference(make(world, "owner"))
    make(world, "a", reference(GONE), stays)
    rest(world)
    assert world.objects[key("a")]["metadata"]["ownerReferences"] == [stays]


def test_an_owner_made_again_is_another() -> None:
    world = World()
    old = reference(make(world, "owner"))
    make(world, "a", old)
    world._drop(key("owner"))
    make(world, "owner")
    rest(world)
    assert left(world) == ["owner"]


def test_an_owner_in_another_namespace_is_absent() -> None:
    world = World()
    make(world, "a", reference(make(world, "owner", space="other")))
    rest(world)
    assert left(world) == ["owner"]


@pytest.mark.parametrize(
    "owner",
    [
        {"apiVersion": "example.com/v1", "kind": "Unknown", "name": "x", "uid": "u"},
        {"apiVersion": "work.karmada.io/v1alpha1", "kind": "Work", "name": "x", "uid": "u"},
    ],
    ids=["a kind that is not known", "a computed kind"],
)
def test_what_cannot_be_read_is_not_absent(owner: Object) -> None:
    world = World()
    make(world, "a", owner, reference(GONE))
    rest(world)
    assert left(world) == ["a"]


def test_nothing_in_a_namespace_owns_what_is_in_none() -> None:
    world = World()
    space = namespace("space")
    space["metadata"]["ownerReferences"] = [reference(GONE)]
    at = world.put(space)
    plan = garbage.decide(world, at, world.now)
    assert not plan.writes and [event.reason for event in plan.events] == ["OwnerRefInvalidNamespace"]


def test_what_is_protected_is_not_collected() -> None:
    world = World()
    make(world, "a", reference(GONE), labels={names.DELETION_PROTECTED: "Always"})
    rest(world)
    assert left(world) == ["a"]


def test_in_the_foreground_an_owner_waits_for_those_that_block_it() -> None:
    world = World()
    owner = make(world, "owner")
    make(world, "blocking", reference(owner, blockOwnerDeletion=True), finalizers=["a.io/b"])
    make(world, "other", reference(owner), finalizers=["a.io/b"])
    remove(world, key("owner"), "Foreground")
    rest(world)
    assert left(world) == ["blocking", "other", "owner"] and is_deleting(world.objects[key("blocking")])
    world._drop(key("blocking"))
    rest(world)
    assert left(world) == ["other"] and is_deleting(world.objects[key("other")])


def test_orphans_forget_their_owner_before_it_goes() -> None:
    world = World()
    owner, second = make(world, "owner"), reference(make(world, "second"))
    for at in range(garbage.ORPHANING_WRITES + 1):
        make(world, f"c{at:03}", reference(owner), *([second] if at == 0 else []))
    remove(world, key("owner"), "Orphan")
    first = garbage.decide(world, key("owner"), world.now)
    assert len(first.writes) == garbage.ORPHANING_WRITES and first.requeue_after_seconds == 0.0
    rest(world)
    assert len(world.objects) == garbage.ORPHANING_WRITES + 2 and key("owner") not in world.objects
    assert world.objects[key("c000")]["metadata"]["ownerReferences"] == [second]
    assert "ownerReferences" not in world.objects[key("c001")]["metadata"]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_circle_that_blocks_itself_goes(size: int) -> None:
    world = World()
    made = [make(world, f"c{at}") for at in range(size)]
    for at in range(size):
        owned = {
            **made[at]["metadata"],
            "ownerReferences": [reference(made[at - 1], blockOwnerDeletion=True)],
        }
        world._store(key(f"c{at}"), {**made[at], "metadata": owned})
    remove(world, key("c0"), "Foreground")
    rest(world)
    assert left(world) == []


# --- a model -----------------------------------------------------------------------------------------------------

_edges = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.booleans()), max_size=16)
_deletes = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(["", "Background", "Foreground", "Orphan"])), max_size=3
)


@settings(max_examples=300, deadline=None)
@given(_edges, _deletes, st.randoms(use_true_random=False))
def test_it_ends_where_a_simple_model_ends(
    edges: Sequence[tuple[int, int, bool]], deletes: Sequence[tuple[int, deletion.Cascade]], order: Any
) -> None:
    """The model: a deleted object is no owner any more; its dependents lose it, and those that it was the last owner of
    are deleted themselves, unless it lets them go."""
    world = World()
    names = [f"c{at}" for at in range(8)]
    made = {name: make(world, name) for name in names}
    owners: dict[str, set[str]] = {name: set() for name in names}
    for above, below, blocks in edges:
        if above != below and names[above] not in owners[names[below]]:
            owners[names[below]].add(names[above])
            obj = world.objects[key(names[below])]
            refs = [
                *(obj["metadata"].get("ownerReferences") or ()),
                reference(made[names[above]], blockOwnerDeletion=blocks),
            ]
            world._store(key(names[below]), {**obj, "metadata": {**obj["metadata"], "ownerReferences": refs}})
    present = set(names)
    for number, policy in deletes:
        name = names[number]
        assert ({at.name for at in world.objects}) == present
        if name not in present:
            continue
        remove(world, key(name), policy)
        going = [(name, policy == "Orphan")]
        while going:
            gone, lets_go = going.pop()
            present.discard(gone)
            for child in present:
                if gone in owners[child]:
                    owners[child].discard(gone)
                    if not owners[child] and not lets_go:
                        going.append((child, False))
            present -= {at for at, _ in going}
        for _ in range(100):
            keys = list(world.objects)
            order.shuffle(keys)
            moved = [_step(world, at) for at in keys]
            if not any(moved):
                break
        rest(world)
        for child in present:
            refs = world.objects[key(child)]["metadata"].get("ownerReferences") or []
            assert {ref["name"] for ref in refs} == owners[child]
            assert all(uid_of(world.objects[key(ref["name"])]) == ref["uid"] for ref in refs)
    assert {at.name for at in world.objects} == present


def _step(world: World, at: Key) -> bool:
    plan = garbage.decide(world, at, world.now)
    world.apply(plan)
    return bool(plan.writes)
