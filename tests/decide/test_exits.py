"""Clusters that leave: what an exit waits for, what it says, what it leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decide.test_members import M1
from tests.decide.test_propagation import REMOVED, WEB_POLICY, a_world, clusters_of, propagate, report
from tests.decide.world import World, deployment
from towline.hub.decide import clusters, detached
from towline.hub.decide.conditions import condition, rfc3339, with_condition
from towline.kube import exits, karmada_validation, names
from towline.kube.objects import Key, Object, copy, uid_of

SPACE = Key("", "namespaces", "", "karmada-es-m1")
ANNOTATE = "annotate the cluster with towline.io/exit-force=true"


def leaving(ready: str = "True", holding: bool = True, **notes: str) -> World:
    """A world in which m1 is being deleted; `holding`: it has a copy of web."""
    world = a_world(deployment(), WEB_POLICY)
    world.settle(clusters.decide, M1, 0)
    if holding:
        propagate(world)
    annotate(world, **notes)
    set_ready(world, ready)
    world.delete(M1)
    propagate(world)
    return world


def annotate(world: World, **notes: str) -> None:
    named = {f"towline.io/exit-{name}": value for name, value in notes.items()}
    world.edit(M1, lambda obj: obj["metadata"].update(annotations=named))


def set_ready(world: World, value: str, reason: str = "r") -> None:
    def change(obj: Object) -> None:
        obj["status"]["conditions"] = with_condition(
            obj["status"].get("conditions"), "Ready", value, reason, "m", world.now
        )

    world.edit(M1, change)


def said(world: World) -> tuple[str, str]:
    found = condition(world.objects[M1].get("status"), clusters.EXIT) or {}
    return str(found.get("reason") or ""), str(found.get("message") or "")


def left(world: World) -> detached.Detached:
    (row,) = world.list(*detached.DETACHED)
    return detached.detached_of(row)


# --- what it waits for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ready", "notes", "after", "reason"),
    [
        ("True", {}, 0, clusters.REMOVING),
        ("True", {}, 10**6, clusters.REMOVING),
        ("True", {"force": "true"}, 29, clusters.REMOVING),
        ("True", {"force": "true"}, 31, None),
        ("True", {"force": rfc3339(1_000_020)}, 49, clusters.REMOVING),
        ("True", {"force": rfc3339(1_000_020)}, 51, None),
        ("True", {"force": rfc3339(9_000_000)}, 31, None),
        ("Unknown", {}, 0, clusters.UNREACHABLE),
        ("False", {}, 10**6, clusters.UNREACHABLE),
        ("Unknown", {"force": "true"}, 0, None),
        ("False", {"force": ""}, 0, None),
    ],
    ids=[
        "reachable: waits", "reachable: never gives up", "forced: half a minute", "forced: and no longer",
        "forced later: from then", "forced later: and no longer", "forced by a clock that runs ahead",
        "unreachable: waits and says so", "its API server is down: the same", "unreachable and forced: at once",
        "any value forces",
    ],
)  # fmt: skip
def test_how_long_an_exit_waits(ready: str, notes: dict[str, Any], after: float, reason: str | None) -> None:
    world = leaving(ready, **notes)
    world.now += after
    plans = world.settle(clusters.decide, M1, 1)
    assert (M1 in world.objects) is (reason is not None)
    kind = "Warning" if reason == clusters.UNREACHABLE else "Normal"
    told = [(event.type, event.reason) for event in plans[0].events]
    assert told == [(kind, reason or "RemoveExecutionSpaceSucceed")]
    if reason is not None:
        assert said(world)[0] == reason


@pytest.mark.parametrize("said_so", [False, True], ids=["just made", "and the hub noticed"])
def test_a_cluster_that_never_reported_is_not_waited_for(said_so: bool) -> None:
    """Nothing can be in it: a Cluster that was made by hand, or by an agent that never came."""
    world = leaving("Unknown")
    world.edit(M1, lambda obj: obj["status"].pop("conditions"))
    if said_so:
        set_ready(world, "Unknown", names.NEVER_UPDATED)
    world.settle(clusters.decide, M1, 1)
    assert M1 not in world.objects and left(world).cluster == "m1"


def test_a_forced_exit_wakes_in_time() -> None:
    world = leaving(force="true")
    (*_, rest) = world.settle(clusters.decide, M1, 1)
    assert rest.requeue_after_seconds == clusters.PLACING_SECONDS
    world.now += 4
    assert clusters.decide(world, M1, world.now, 1).requeue_after_seconds == clusters.PLACING_SECONDS - 4
    world.now += 21
    assert clusters.decide(world, M1, world.now, 1).requeue_after_seconds == 5
    annotate(world)
    world.settle(clusters.decide, M1, 1)
    assert clusters.decide(world, M1, world.now, 1).requeue_after_seconds is None, "nothing turns with time"


def test_who_waits_is_told_how_to_go_on() -> None:
    world = leaving("Unknown")
    world.settle(clusters.decide, M1, 1)
    assert "`towline unjoin m1 --force`" in said(world)[1] and ANNOTATE in said(world)[1]
    set_ready(world, "True")
    world.settle(clusters.decide, M1, 1)
    reason, message = said(world)
    assert reason == clusters.REMOVING and message.startswith(
        "the agent of cluster m1 removes what was propagated to it. To go on without waiting: "
    )


def test_an_agent_that_is_away_is_not_said_to_do_anything() -> None:
    """Nobody knows yet whether it is lost."""
    world = leaving()
    world.settle(clusters.decide, M1, 1, False)
    reason, message = said(world)
    assert reason == clusters.REMOVING and message.startswith("the agent of cluster m1 is not connected; ")
    world.settle(clusters.decide, M1, 1, True)
    assert said(world)[1].startswith("the agent of cluster m1 removes")


def test_who_forced_it_is_not_told_to_force_it() -> None:
    world = leaving(force="true")
    world.settle(clusters.decide, M1, 1)
    assert said(world)[1].endswith("The deletion goes on without it in 30 s at the latest.")
    assert "--force" not in said(world)[1]


def test_bindings_that_cannot_move_are_named_but_not_at_once() -> None:
    world = leaving()
    binding = next(key for key in world.objects if key.resource == "resourcebindings")
    world.edit(binding, lambda obj: obj["spec"]["clusters"].append({"name": "m1"}))
    world.settle(clusters.decide, M1, 0)
    assert said(world)[0] == clusters.REMOVING
    world.now += clusters.PLACING_SECONDS
    world.settle(clusters.decide, M1, 0)
    reason, message = said(world)
    assert reason == clusters.NOWHERE and "1 bindings have no other place (shop/web-deployment)" in message
    for name, named in (("b", "b, shop/"), ("c", "b, shop/c, shop/"), ("a", "a, shop/b, shop/c, …")):
        one = world.objects[binding]
        world.objects[binding._replace(name=name)] = {**one, "metadata": {**one["metadata"], "name": name}}
        world.settle(clusters.decide, M1, 0)
        assert f"(shop/{named}" in said(world)[1]


def test_what_is_kept_is_said() -> None:
    world = leaving(workloads="Keep")
    world.settle(clusters.decide, M1, 1)
    assert said(world)[1].startswith("the agent of cluster m1 lets go of what was propagated to it.")


# --- the end -------------------------------------------------------------------------------------------------


def test_the_last_removal_ends_it() -> None:
    world = leaving()
    for holding in (1, 0):  # the Work table, and what is stored
        plans = world.settle(clusters.decide, M1, holding)
        assert plans[-1].reasons == {"waiting": "1 Works may be in the cluster still"}
    assert clusters_of(world) == {"m2": 3} and SPACE in world.objects
    report(world, m1=REMOVED)
    world.settle(clusters.decide, M1, 0)
    assert M1 not in world.objects and SPACE not in world.objects


def test_an_unreachable_cluster_that_holds_nothing_goes_at_once() -> None:
    world = leaving("Unknown", holding=False)
    report(world, m1=REMOVED)
    del world.objects[SPACE]  # somebody took it away before
    world.settle(clusters.decide, M1, 0)
    assert M1 not in world.objects


@pytest.mark.parametrize(
    ("notes", "keep", "remove_agent"),
    [({}, False, False), ({"workloads": "Keep"}, True, False), ({"agent": "Remove"}, False, True)],
    ids=["remove by default", "keep workloads", "the agent goes too"],
)
def test_the_choice_outlives_the_cluster(notes: dict[str, Any], keep: bool, remove_agent: bool) -> None:
    world = leaving("Unknown", force="true", **notes)
    uid = uid_of(world.objects[M1])
    world.put(
        {**copy(world.objects[M1]), "spec": {"syncMode": "Pull", "id": "member-uid"}}
    )  # what it was enrolled with
    world.settle(clusters.decide, M1, 1)
    row = left(world)
    assert (row.cluster, row.keep_workloads, row.remove_agent) == ("m1", keep, remove_agent)
    assert (row.member, row.at) == ("member-uid", world.now)
    assert detached.key_of(uid) in world.objects


def test_revoked_certificates_are_remembered() -> None:
    world = leaving("Unknown", force="true")
    uid = uid_of(world.objects[M1])
    revocation = {"metadata": {"name": "m1"}, "spec": {"clusterUID": uid, "generation": 2}}
    world.objects[Key("towline.io", "revocations", "", "m1")] = revocation
    world.settle(clusters.decide, M1, 1)
    assert left(world).generation == 2


def test_other_finalizers_do_not_keep_the_choice_from_being_written() -> None:
    world = leaving("Unknown", force="true")
    world.edit(M1, lambda obj: obj["metadata"]["finalizers"].append("example.com/hold"))
    world.settle(clusters.decide, M1, 1)
    assert world.objects[M1]["metadata"]["finalizers"] == ["example.com/hold"]
    assert left(world).cluster == "m1"


def test_stored_works_end_with_the_cluster() -> None:
    world = leaving(holding=False)
    for name, finalizers in (("sent", [names.EXECUTION_FINALIZER]), ("new", [])):
        metadata: Any = {"name": name, "namespace": SPACE.name, "finalizers": finalizers}
        world.put({"apiVersion": "work.karmada.io/v1alpha1", "kind": "Work", "metadata": metadata})
    report(world, m1=REMOVED)
    plans = world.settle(clusters.decide, M1, 0)
    (work,) = world.list(names.WORK_GROUP, "works")
    assert work["metadata"]["name"] == "sent" and work["metadata"]["deletionTimestamp"]
    assert M1 in world.objects and plans[-1].reasons == {"waiting": "1 Works may be in the cluster still"}
    del world.objects[world.key(work)]
    world.settle(clusters.decide, M1, 0)
    assert M1 not in world.objects


# --- the rows ------------------------------------------------------------------------------------------------


def test_rows_go_with_time() -> None:
    world = leaving("Unknown", force="true")
    world.settle(clusters.decide, M1, 1)
    (row,) = world.list(*detached.DETACHED)
    at = Key(*detached.DETACHED, "", row["metadata"]["name"])
    assert detached.decide(world, at, world.now).requeue_after_seconds == detached.KEPT_SECONDS
    world.now += detached.KEPT_SECONDS
    world.settle(detached.decide, at)
    assert at not in world.objects
    assert detached.decide(world, at, world.now).writes == ()


@pytest.mark.parametrize(
    ("most", "at_a_time", "kept"),
    [(2, 50, "c"), (3, 50, "ca"), (4, 50, "cab"), (9, 50, "cab"), (2, 1, "ca")],
    ids=[
        "all but the newest go",
        "the oldest goes",
        "all fit",
        "there is room",
        "of very many some at a time",
    ],
)
def test_there_are_never_too_many_rows(
    monkeypatch: pytest.MonkeyPatch, most: int, at_a_time: int, kept: str
) -> None:
    monkeypatch.setattr(detached, "KEPT_MAX", most)
    monkeypatch.setattr(detached, "_SURPLUS_MAX", at_a_time)
    world = leaving("Unknown", force="true")
    for at, name in enumerate(("b", "a", "c")):
        row = {"kind": "Detached", "metadata": {"name": name, "resourceVersion": "1"}}
        spec = detached.Detached("other", "", 0, False, False, float(at))
        world.objects[detached.key_of(name)] = {
            **row,
            "spec": {field: getattr(spec, field) for field in spec.__slots__},
        }
    world.settle(clusters.decide, M1, 1)
    others = {
        row["metadata"]["name"] for row in world.list(*detached.DETACHED) if row["spec"]["cluster"] == "other"
    }
    assert others == set(kept) and len(world.list(*detached.DETACHED)) == len(kept) + 1


# --- the annotations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notes", "chosen"),
    [
        ({}, exits.Exit(False, False, False)),
        ({exits.WORKLOADS: "Remove", exits.AGENT: "Keep"}, exits.Exit(False, False, False)),
        ({exits.WORKLOADS: "Keep", exits.AGENT: "Remove", exits.FORCE: ""}, exits.Exit(True, True, True)),
        ({exits.WORKLOADS: "keep", exits.AGENT: "yes"}, exits.Exit(True, False, False)),
    ],
    ids=["default", "spelled out", "the other way round", "what cannot be read keeps"],
)
def test_what_annotations_choose(notes: dict[str, str], chosen: exits.Exit) -> None:
    assert exits.exit_of({"metadata": {"annotations": notes}}) == chosen


def test_a_choice_that_does_not_exist_is_refused() -> None:
    wrong = {"metadata": {"name": "m1", "annotations": {exits.WORKLOADS: "Away"}}}
    (error,) = karmada_validation.VALIDATIONS["Cluster"](wrong, None)
    assert (
        str(error)
        == 'metadata.annotations[towline.io/exit-workloads]: Unsupported value: "Away": supported values: "Keep", "Remove"'
    )
