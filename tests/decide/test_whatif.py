"""What if: hypothetical objects over a snapshot, and the moves that they alone would cause."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.failing import ONE_OF_ALL, lose, recover
from tests.decide.test_doubt import EVICT
from tests.decide.test_eviction import TWO
from tests.decide.test_explaining import (
    BINDING,
    DIVIDED,
    GOLD,
    TAINT,
    WEB,
    WEB_POLICY,
    fleet,
    member,
    settled,
)
from tests.decide.test_tolerance import tolerating
from tests.decide.world import World, cluster, configmap, deployment, policy, selector
from towline.cli.changes import lost
from towline.hub.decide import bindings, eviction
from towline.hub.decide.conditions import condition, rfc3339
from towline.hub.decide.scheduling import View
from towline.hub.decide.whatif import (
    MOVES_MAX,
    Changes,
    Forecast,
    Overlay,
    concerned,
    forecast,
    held,
    with_assumed_apis,
    with_policy_taints,
)
from towline.kube.names import TAINT_DRAIN, TAINT_UNREACHABLE
from towline.kube.objects import Key, Object, name_of

SETTINGS = Key("", "configmaps", "shop", "settings")


def with_taint(world: World, name: str, taint: Object = TAINT) -> Object:
    found = world.objects[member(name)]
    return {**found, "spec": {**found["spec"], "taints": [taint]}}


def with_labels(world: World, name: str, **labels: str) -> Object:
    found = world.objects[member(name)]
    return {**found, "metadata": {**found["metadata"], "labels": labels}}


def with_identity(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "uid": "hypothetical"}}


def asked(world: World, changes: Changes, *keys: Key, replicas: int | None = None) -> list[Forecast]:
    view = View.of(world, world.now)
    return list(forecast(world, view, keys or (WEB,), changes, world.now, replicas))


def moves(found: Forecast) -> dict[str, tuple[int | None, int | None]]:
    rows = found.data().get("moves") or ()
    return {row["cluster"]: (row.get("before"), row.get("after")) for row in rows}


# --- one template --------------------------------------------------------------------------------------------


def placed(*more: Object) -> World:
    world = fleet(WEB_POLICY, *more)
    settled(world)
    return world


def test_a_taint_moves_nothing_that_is_placed() -> None:
    world = placed()
    (found,) = asked(world, {member("m2"): with_taint(world, "m2")})
    assert not found.moves and moves(found) == {} and not found.pending


def test_a_taint_keeps_what_is_not_placed_yet_away() -> None:
    world = fleet(WEB_POLICY)
    (found,) = asked(world, {member("m2"): with_taint(world, "m2")})
    assert moves(found) == {"m1": (2, 3), "m2": (1, None)}
    assert found.pending == "Even without the changes it goes from no cluster to m1 (2), m2 (1)."


@pytest.mark.parametrize(
    ("changes", "replicas", "expected"),
    [
        ({member("m2"): None}, None, {"m1": (2, 3), "m2": (1, None)}),
        ({member("m3"): None}, None, {}),
        ({}, 9, {"m1": (2, 5), "m2": (1, 4)}),
        ({}, 3, {}),
        ({member("m4"): cluster("m4", {"tier": "gold"})}, None, {}),
        ({member("m4"): cluster("m4", {"tier": "gold"})}, 6, {"m1": (2, 2), "m2": (1, 2), "m4": (None, 2)}),
    ],
    ids=["a target leaves", "another cluster leaves", "scaled", "the same", "a cluster joins", "joins, and scaled"],
)  # fmt: skip
def test_changes_and_the_moves_they_cause(changes: Any, replicas: int | None, expected: Any) -> None:
    (found,) = asked(placed(), changes, replicas=replicas)
    assert moves(found) == {name: move for name, move in expected.items() if move[0] != move[1]}


def test_a_label_moves_what_follows_the_clusters() -> None:
    world = fleet(policy("maps", [selector(configmap())], GOLD), template=configmap())
    settled(world, SETTINGS)
    changes = {
        member("m2"): with_labels(world, "m2", tier="iron"),
        member("m3"): with_labels(world, "m3", tier="gold"),
    }
    (found,) = asked(world, changes, SETTINGS)
    assert moves(found) == {"m2": (0, None), "m3": (None, 0)}


def test_a_cluster_that_says_nothing_of_its_apis_serves_what_others_serve() -> None:
    world = placed()
    bare = {**cluster("m4", {"tier": "gold"}), "status": {"id": "x"}}
    (found,) = asked(world, {member("m4"): with_assumed_apis(world, bare)}, replicas=6)
    assert found.then.targets == {"m1": 2, "m2": 2, "m4": 2}
    own = {**bare, "status": {"apiEnablements": [{"groupVersion": "v1", "resources": []}]}}
    assert with_assumed_apis(world, own) is own


def test_what_could_not_be_placed_any_more_says_why() -> None:
    world = fleet(policy("maps", [selector(configmap())], GOLD), template=configmap())
    settled(world, SETTINGS)
    (found,) = asked(world, {member("m1"): None, member("m2"): None}, SETTINGS)
    assert found.fails and found.then.state == "NoClusterFit"
    assert found.then.message.startswith("0/1 clusters are available: 1 cluster(s) did not match")


def test_a_policy_that_is_replaced() -> None:
    world = placed()
    rule = policy("web", [selector(deployment(), name="web")], {"clusterAffinity": {"clusterNames": ["m3"]}})
    key = world.key(rule)
    stored = world.objects[key]
    (found,) = asked(world, {key: {**stored, "spec": rule["spec"]}})
    assert moves(found) == {"m1": (2, None), "m2": (1, None), "m3": (None, 3)}


def test_a_policy_for_what_no_policy_selects() -> None:
    world = fleet()
    rule = with_identity(policy("web", [selector(deployment())], DIVIDED))
    (found,) = asked(world, {world.key(rule): rule})
    assert (found.now.state, found.then.state) == ("NoPolicy", "Placed")
    assert moves(found) == {"m1": (None, 2), "m2": (None, 1)}


def test_a_policy_that_preempts() -> None:
    world = placed()
    rule = policy(
        "first", [selector(deployment(), name="web")], {"clusterAffinity": {"clusterNames": ["m3"]}}
    )
    rule["spec"] |= {"priority": 1}
    meek = with_identity(rule)
    bold = with_identity({**rule, "spec": {**rule["spec"], "preemption": "Always"}})
    assert moves(asked(world, {world.key(rule): meek})[0]) == {}
    assert set(moves(asked(world, {world.key(rule): bold})[0])) == {"m1", "m2", "m3"}


def test_what_the_hub_would_do_anyway_is_no_move() -> None:
    world = placed()
    world.edit(WEB, lambda web: web["spec"].update(replicas=5))
    (found,) = asked(world, {member("m3"): None})
    assert not found.moves
    assert found.pending == "Even without the changes it goes from m1 (2), m2 (1) to m1 (3), m2 (2)."


def test_nothing_is_written() -> None:
    world = fleet(WEB_POLICY, template=deployment(requests={"cpu": "1"}))
    settled(world)
    before = (world.revision, dict(world.objects))
    view = View.of(world, world.now)
    held = {name: dict(needs) for name, needs in view.assigned.promises.items()}
    assert held, "what was placed is promised"
    list(forecast(world, view, [WEB], {member("m2"): None}, world.now, 40))
    assert (world.revision, world.objects) == before
    assert view.assigned.promises == held


def test_what_is_the_hubs_own_goes_nowhere() -> None:
    world = placed()
    key = world.put(configmap(namespace="kube-system"))
    (found,) = asked(world, {}, key)
    assert found.then.state == "NotPropagated"


def test_no_change_moves_nothing() -> None:
    (found,) = asked(placed(), {})
    assert not found.differs and not found.pending and found.now == found.then


def test_of_many_templates_not_every_move_is_listed() -> None:
    world = fleet(policy("web", [selector(deployment())], {}), template=deployment())
    for n in range(MOVES_MAX):
        world.put(cluster(f"n{n:03}"))
    (found,) = asked(world, {}, replicas=4)
    assert "targets" in found.data()["then"] and found.data()["movesCount"] == MOVES_MAX + 3
    short = found.data(whole=False)
    assert len(short["moves"]) == MOVES_MAX and short["movesCount"] == MOVES_MAX + 3
    assert "targets" not in short["then"]


# --- what leaves ---------------------------------------------------------------------------------------------

LOSS: Object = {"cluster": {}}


def losing(world: World, *members: str) -> Changes:
    """As `towline what-if --lose` says it."""
    found: dict[Key, Object | None] = {}
    for name in members:
        found[member(name)] = obj = copy.deepcopy(world.objects[member(name)])
        lost(rfc3339(world.now))(obj)
    return found


@pytest.mark.parametrize(
    ("gone", "lost_before", "said"),
    [
        pytest.param(("m1",), (), "", id="one of three"),
        pytest.param(("m1", "m2"), (), "2 of 3 clusters would be lost within a minute: the hub would take itself for cut off, and evict nothing from m1, m2 until", id="most of them"),
        pytest.param(("m1",), ("m3",), "2 of 3 clusters would be lost within a minute: the hub would take itself for cut off, and evict nothing from m1 until", id="beside one that was just lost"),
    ],
)  # fmt: skip
def test_whether_the_hub_would_believe_a_loss(
    gone: tuple[str, ...], lost_before: tuple[str, ...], said: str
) -> None:
    world = failing_over()
    for name in ("m1", "m2", "m3"):
        (lose if name in lost_before else recover)(world, name)
    told = held(world, losing(world, *gone), world.now)
    assert told.startswith(said) and bool(told) == bool(said)
    renamed = Key("policy.karmada.io", "clusterpropagationpolicies", "", "m3")
    assert held(world, {renamed: None}, world.now) == "", "only what is asked about is told of"


def failing_over(placement: Object = DIVIDED, **spec: Any) -> World:
    world = fleet(policy("web", [selector(deployment())], placement, **{"failover": LOSS, **spec}))
    settled(world)
    return world


@pytest.mark.parametrize(
    ("placement", "spec", "gone", "expected", "state"),
    [
        pytest.param(DIVIDED, {}, ("m2",), {"m1": (2, 3), "m2": (1, None)}, "Placed", id="divided replicas move to the others"),
        pytest.param(DIVIDED, {"failover": None}, ("m2",), {}, "Placed", id="without failover they stay"),
        pytest.param(GOLD, {}, ("m2",), {}, "NowhereToGo", id="every other cluster has its copy"),
        pytest.param(DIVIDED, {}, ("m1", "m2"), {}, "NowhereToGo", id="all are lost"),
        pytest.param({**DIVIDED, "clusterTolerations": [tolerating(TAINT_UNREACHABLE)]}, {}, ("m2",), {}, "Placed", id="tolerated for ever"),
        pytest.param({**DIVIDED, "clusterTolerations": [tolerating(TAINT_UNREACHABLE, 9_000)]}, {}, ("m2",),
                     {"m1": (2, 3), "m2": (1, None)}, "Placed", id="tolerated for long"),
        pytest.param(DIVIDED, {"failover": {"cluster": {"purgeMode": "Directly"}}}, ("m2",), {"m1": (2, 3), "m2": (1, None)},
                     "PurgeUnconfirmed", id="what must not run twice waits"),
    ],
)  # fmt: skip
def test_what_would_be_if_a_cluster_was_lost(
    placement: Object, spec: Any, gone: tuple[str, ...], expected: Any, state: str
) -> None:
    world = failing_over(placement, **spec)
    (found,) = asked(world, losing(world, *gone))
    assert moves(found) == expected and found.then.state == state
    assert (found.then.message == "") is (state == "Placed")
    assert found.fails is (state != "Placed") and not found.pending


def test_what_would_be_if_it_was_drained() -> None:
    world = placed()
    drained = with_taint(world, "m2", {"key": TAINT_DRAIN, "effect": "NoExecute"})
    (found,) = asked(world, {member("m2"): drained})
    assert moves(found) == {"m1": (2, 3), "m2": (1, None)}


def test_a_lost_cluster_has_the_taints_that_policies_give_it() -> None:
    world = placed()
    world.put(EVICT)
    (lost_one,) = losing(world, "m2").values()
    assert lost_one is not None
    found = with_policy_taints(world, lost_one, world.now)
    assert [(t["key"], t["effect"]) for t in found["spec"]["taints"]] == [
        (TAINT_UNREACHABLE, "NoSchedule"),
        ("lost", "NoExecute"),
    ]
    well = {**found, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert [t["key"] for t in with_policy_taints(world, well, world.now)["spec"]["taints"]] == [
        TAINT_UNREACHABLE
    ]


def test_what_is_to_leave_anyway_is_pending_and_no_move() -> None:
    world = failing_over()
    world.objects |= {key: obj for key, obj in losing(world, "m2").items() if obj is not None}
    (found,) = asked(world, {member("m3"): with_labels(world, "m3", tier="lead")})
    assert not found.moves
    assert found.pending == "Even without the changes it goes from m1 (2), m2 (1) to m1 (3)."
    back = {**world.objects[member("m2")], "status": {}, "spec": {}}
    (found,) = asked(world, {member("m2"): with_assumed_apis(world, back)})
    assert moves(found) == {"m1": (3, 2), "m2": (None, 1)}


def test_one_that_leaves_takes_the_room_of_the_next() -> None:
    dynamic = {**DIVIDED["replicaScheduling"], "weightPreference": {"dynamicWeight": "AvailableReplicas"}}
    rule = policy("all", [selector(deployment())], {"replicaScheduling": dynamic}, failover=LOSS)
    template = deployment(replicas=4, requests={"cpu": "1"})
    world = fleet(rule, template=template)
    other = world.put(deployment("zeb", replicas=4, requests={"cpu": "1"}))
    for name, summary in (("m1", room(8)), ("m2", room(0)), ("m3", room(0))):
        world.objects[member(name)]["status"]["resourceSummary"] = summary
    for key in (WEB, other):
        settled(world, key)
    world.edit(member("m2"), lambda found: found["status"].update(resourceSummary=room(6)))
    first, second = asked(world, losing(world, "m1"), WEB, other)
    assert moves(first) == {"m1": (4, None), "m2": (None, 4)}
    assert not second.moves and second.then.state == "NowhereToGo"


# --- many templates ------------------------------------------------------------------------------------------


def test_concerned_is_what_is_bound_and_what_a_new_policy_selects() -> None:
    world = placed()
    world.put(configmap())
    world.put(configmap("other", namespace="elsewhere"))
    rule = with_identity(policy("maps", [selector(configmap())], GOLD))
    assert list(concerned(world, {}, "shop")) == [WEB]
    assert list(concerned(world, {world.key(rule): rule}, "shop")) == [WEB, SETTINGS]
    assert list(concerned(world, {}, "elsewhere")) == []
    assert list(concerned(world, {}, None)) == [WEB]


def test_templates_see_where_others_of_their_group_went() -> None:
    """Two workloads of one anti-affinity group, both new: the second keeps away from where the first would go."""
    label = {"app.kubernetes.io/group": "g"}
    placement = {
        "clusterAffinity": {"clusterNames": ["m1", "m2"]},
        "workloadAffinity": {"antiAffinity": {"groupByLabelKey": "app.kubernetes.io/group"}},
        "clusterTolerations": [],
    }
    world = fleet(policy("all", [selector(deployment())], placement), template=deployment(labels=label))
    other = world.put(deployment("zeb", labels=label))
    world.edit(member("m2"), lambda found: found["spec"].update(taints=[TAINT]))
    untainted = {**world.objects[member("m2")], "spec": {"syncMode": "Pull"}}
    first, second = asked(world, {member("m2"): untainted}, WEB, other)
    assert set(first.now.targets) == {"m1"} and second.now.state == "NoClusterFit"
    assert set(first.then.targets) == {"m1", "m2"} and second.then.state == "NoClusterFit"


def test_room_that_one_template_takes_is_not_there_for_the_next() -> None:
    dynamic = {**DIVIDED["replicaScheduling"], "weightPreference": {"dynamicWeight": "AvailableReplicas"}}
    rule = policy("all", [selector(deployment())], {**GOLD, "replicaScheduling": dynamic})
    world = fleet(rule, template=deployment(replicas=12, requests={"cpu": "1"}))
    other = world.put(deployment("zeb", replicas=12, requests={"cpu": "1"}))
    for name in ("m1", "m2"):
        world.edit(member(name), lambda found: found["status"].update(resourceSummary=room(10)))
    bigger = world.objects[member("m1")]
    bigger = {**bigger, "status": {**bigger["status"], "resourceSummary": room(30)}}
    first, second = asked(world, {member("m1"): bigger}, WEB, other)
    assert (first.now.state, second.now.state) == ("Placed", "Unschedulable")
    assert (first.then.state, second.then.state) == ("Placed", "Placed")


def room(cpus: int) -> Object:
    return {"allocatable": {"cpu": str(cpus), "pods": "100"}}


# --- the overlay ---------------------------------------------------------------------------------------------


def test_an_overlay_shows_changes_and_shares_the_rest() -> None:
    world = placed()
    changed = with_labels(world, "m2", tier="iron")
    over = Overlay(world, {member("m1"): None, member("m2"): changed, member("m9"): cluster("m9")})
    assert [name_of(c) for c in over.list("cluster.karmada.io", "clusters")] == ["m2", "m3", "m9"]
    assert over.get(member("m1")) is None and over.get(member("m2")) is changed
    assert over.get(WEB) is world.get(WEB) and over.revision == world.revision and over.kinds is world.kinds
    assert [name_of(p) for p in over.list("policy.karmada.io", "propagationpolicies", "shop")] == ["web"]
    assert over.list("policy.karmada.io", "propagationpolicies", "other") == []


def test_an_overlay_keeps_its_indexes_right() -> None:
    world = placed()
    label, value = "propagationpolicy.karmada.io/permanent-id", ""
    value = world.objects[WEB]["metadata"]["labels"][label]
    uid = world.objects[WEB]["metadata"]["uid"]
    assert WEB in world.labelled(label, value)
    over = Overlay(world, {WEB: deployment()})
    assert WEB not in over.labelled(label, value) and BINDING in over.labelled(label, value)
    owned = configmap()
    owned["metadata"]["ownerReferences"] = [{"uid": uid}]
    assert list(Overlay(world, {SETTINGS: owned}).dependents(uid)) == [SETTINGS]


@cases(60)
@given(st.sets(st.sampled_from(["m1", "m2", "m3"])), st.integers(0, 12))
def test_what_is_forecast_is_what_happens(gone: set[str], replicas: int) -> None:
    """The same changes made for real lead to the forecast targets."""
    world = placed()
    (found,) = asked(world, {member(name): None for name in gone}, replicas=replicas)
    for name in gone:
        world.delete(member(name))
    world.edit(WEB, lambda web: web["spec"].update(replicas=replicas))
    settled(world)
    clusters = (world.objects[BINDING]["spec"]).get("clusters") or ()
    assert dict(found.then.targets) == {c["name"]: c.get("replicas", 0) for c in clusters}


@cases(40)
@given(
    st.sampled_from([DIVIDED, GOLD, {}, ONE_OF_ALL, TWO]),
    st.sets(st.sampled_from(["m1", "m2", "m3"])),
    st.sampled_from([LOSS, {"cluster": {"purgeMode": "Directly"}}, None]),
)
def test_what_is_forecast_of_a_loss_is_what_happens(
    placement: Object, gone: set[str], failover: Object | None
) -> None:
    """Once it lasted for as long as it is tolerated."""
    world = failing_over(placement, failover=failover)
    changes = losing(world, *gone)
    (found,) = asked(world, changes)
    world.objects |= {key: obj for key, obj in changes.items() if obj is not None}
    world.now += 300
    for _ in range(5):
        world.settle(lambda w, key, now: eviction.decide(w, key, now, View.of(w, now)), BINDING)
        settled(world)
    binding = world.objects[BINDING]
    assert dict(found.then.targets) == bindings.targets(binding)
    blocked = condition(binding["status"], eviction.BLOCKED)
    assert found.then.state == ("Placed" if blocked is None else blocked["reason"])
