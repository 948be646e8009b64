"""A hub that loses most of its agents at once doubts itself: tables, what it says on the Clusters, and what it never does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import World, cluster
from towline.hub.decide import doubt, health, taint_policies
from towline.hub.decide.conditions import condition, rfc3339
from towline.hub.decide.doubt import FLEET, Doubt, Standing, doubts, standing_of
from towline.hub.decide.health import ClusterFacts
from towline.hub.store.fleet import Fleet
from towline.kube.names import RELEASE_EVICTIONS
from towline.kube.objects import Key, with_metadata

NOW = 10_000.0
UP = ("True", -5000.0)


def fleet(*states: tuple[str | None, float], held: str = "", released: str = "") -> list[Standing]:
    """Clusters a, b, …: what Ready says of each, and since how many seconds from now it does."""
    found = []
    for name, (ready, since) in zip("abcdefghijklmnop", states, strict=False):
        released_at = NOW if name in released else 0.0
        found.append(Standing(name, ready, NOW + since, name in held, released_at))
    return found


def lost(*ago: float) -> list[tuple[str, float]]:
    return [("Unknown", -seconds) for seconds in ago]


@pytest.mark.parametrize(
    ("clusters", "audible", "expected"),
    [
        pytest.param(fleet(UP, UP, UP), "", None, id="nobody is lost, whoever is heard"),
        pytest.param(fleet(*lost(5), UP, UP), "bc", None, id="one of three"),
        pytest.param(fleet(*lost(5), UP), "b", None, id="half is not most"),
        pytest.param(fleet(*lost(5)), "", "a", id="all there is"),
        pytest.param(fleet(*lost(5, 9), UP), "c", "ab", id="two of three"),
        pytest.param(fleet(*lost(5, 65), UP), "c", "ab", id="within a minute"),
        pytest.param(fleet(*lost(5, 66), UP, UP), "cd", None, id="not within a minute"),
        pytest.param(fleet(*lost(5, 20, 900), UP, UP, UP), "def", None, id="those lost before are not counted"),
        pytest.param(fleet(*lost(5, 20, 900), UP), "d", "abc", id="but concerned, when most of the rest is lost"),
        pytest.param(fleet(*lost(9_000, 9_020, 9_040), UP, UP), "de", "abc", id="it does not fade by itself"),
        pytest.param(fleet(*lost(5), (None, 0), (None, 0)), "", "a", id="who never reported does not count"),
        pytest.param(fleet(*lost(5), UP, UP), "b", "a", id="who is silent already counts as lost"),
        pytest.param(fleet(*lost(5, 9), UP, UP), "c", "ab", id="three of four, one of them on its way"),
        pytest.param(fleet(*lost(5), UP, UP, UP, UP), "cde", None, id="two of five, one of them on its way"),
        pytest.param(fleet(*lost(5, 9, 9), UP, UP, released="ab"), "de", "c", id="an operator knows of two"),
        pytest.param(fleet(*lost(0, 0, 0), released="a"), "", "bc", id="and of one in the second that it was lost"),
        pytest.param(fleet(*lost(5, 9, 9), UP, UP, released="abc"), "de", "", id="and of all"),
        pytest.param(fleet(*lost(90), ("True", -59), ("True", -59), held="a"), "bc", "a", id="most are only just back"),
        pytest.param(fleet(*lost(90), ("True", -60), ("True", -60), held="a"), "bc", None, id="and stayed"),
        pytest.param(fleet(*lost(90), ("True", -59), UP, UP, UP, held="a"), "bcde", None, id="two of five, one of them only just back"),
        pytest.param(fleet(*lost(5), ("True", -9), ("True", -9)), "bc", None, id="who is new is not back"),
    ],
)  # fmt: skip
def test_doubts(clusters: list[Standing], audible: str, expected: str | None) -> None:
    found = doubts(clusters, set(audible), NOW)
    assert (None if found is None else found.clusters) == (None if expected is None else frozenset(expected))


def saying(*conditions: dict[str, str], deleting: bool = False, released: float | None = None) -> Any:
    found = {**cluster("m1"), "status": {"conditions": list(conditions)}}
    marked: dict[str, Any] = {"deletionTimestamp": rfc3339(NOW)} if deleting else {}
    noted = {"annotations": {RELEASE_EVICTIONS: rfc3339(released)}} if released is not None else {}
    return {**found, "metadata": {**found["metadata"], **marked, **noted}}


LOST = {
    "type": "Ready",
    "status": "Unknown",
    "reason": "ClusterStatusUnknown",
    "lastTransitionTime": rfc3339(NOW - 7),
}
HELD = {"type": doubt.EVICTIONS_HELD, "status": "True"}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(saying(LOST), Standing("m1", "Unknown", NOW - 7), id="lost"),
        pytest.param(saying({**LOST, "status": "True"}), Standing("m1", "True", NOW - 7), id="well"),
        pytest.param(saying(LOST, deleting=True), Standing("m1", None, NOW - 7), id="on its way out"),
        pytest.param(saying({**LOST, "reason": "ClusterStatusNeverUpdated"}), Standing("m1", None, NOW - 7), id="never heard"),
        pytest.param(saying(), Standing("m1", None, 0.0), id="nothing said yet"),
        pytest.param(saying(LOST, HELD), Standing("m1", "Unknown", NOW - 7, held=True), id="held"),
        pytest.param(saying(LOST, {**HELD, "status": "False"}), Standing("m1", "Unknown", NOW - 7), id="held no more"),
        pytest.param(saying(LOST, HELD, released=NOW), Standing("m1", "Unknown", NOW - 7, True, NOW), id="released"),
    ],
)  # fmt: skip
def test_what_a_cluster_says_of_itself(obj: Any, expected: Standing) -> None:
    assert standing_of(obj) == expected


@pytest.mark.parametrize("count", range(1, 8))
def test_most_are_more_than_half(count: int) -> None:
    """The only one of one, both of two, two of three; all at once."""
    enough = count // 2 + 1
    for many in range(1, count + 1):
        clusters = fleet(*lost(*[5.0] * many), *[UP] * (count - many))
        assert (doubts(clusters, None, NOW) is not None) is (many >= enough)


@pytest.mark.parametrize(
    ("ago", "of", "doubted"),
    [
        pytest.param((0, 61), 3, False, id="one by one"),
        pytest.param((0, 61, 122), 3, True, id="until the last"),
        pytest.param((0, 59), 5, False, id="two of five"),
        pytest.param((0, 30, 59), 5, True, id="three of five"),
        pytest.param((300, 330, 359), 5, True, id="long ago, at once"),
        pytest.param((0, 61, 62), 5, False, id="never three at once"),
        pytest.param((0, 30, 70, 100), 6, False, id="two of six, twice"),
        pytest.param((0, 30, 70, 100), 5, True, id="the last two of three"),
    ],
)
def test_losses_that_roll(ago: tuple[int, ...], of: int, doubted: bool) -> None:
    """Counted are those within a minute, of those that were there when it began."""
    clusters = fleet(*lost(*ago), *[UP] * (of - len(ago)))
    assert (doubts(clusters, None, NOW) is not None) is doubted


def test_a_doubt_says_how_many_of_how_many() -> None:
    assert doubts(fleet(*lost(5, 9, 900), UP), None, NOW) == Doubt(2, 3, frozenset("abc"))
    most = doubts(fleet(*lost(5, 9, 400, 401, 402, 403), UP), None, NOW)
    assert most is not None and (most.lost, most.of) == (4, 7), "of two such minutes the worse"
    growing = doubts(fleet(*lost(100, 70, 40, 20, 10)), None, NOW)
    assert growing is not None and (growing.lost, growing.of) == (4, 4), "and the worse may be the later"


_standings = st.lists(
    st.tuples(
        st.sampled_from(["True", "False", "Unknown", None]),
        st.integers(0, 200),
        st.booleans(),
        st.sampled_from([0.0, NOW - 30, NOW]),
    ),
    max_size=12,
).map(
    lambda rows: [
        Standing(f"c{n}", ready, NOW - ago, held, released)
        for n, (ready, ago, held, released) in enumerate(rows)
    ]
)


@cases(300)
@given(_standings, st.sets(st.integers(0, 11).map(lambda n: f"c{n}")))
def test_laws_of_doubt(clusters: list[Standing], audible: set[str]) -> None:
    """It concerns lost clusters that nobody released; when most were lost within this minute there is one; that others are
    silent too takes none away; and the order of the clusters is nothing to it."""
    found = doubts(clusters, audible, NOW)
    members = [s for s in clusters if s.ready is not None]
    unknown = {s.name for s in members if s.ready == "Unknown"}
    if found is not None:
        assert found.clusters == {s.name for s in members if s.name in unknown and s.released < s.since}
        assert found.lost > found.of / 2 and found.of <= len(members)
    if not unknown:
        assert found is None
    together = [s for s in members if s.name in unknown and s.since >= NOW - doubt.LOST_WITHIN_SECONDS]
    if unknown and len(together) > len(members) / 2:
        assert found is not None
    assert doubts(clusters[::-1], audible, NOW) == found
    if doubts(clusters, None, NOW) is not None and not any(s.held for s in members):
        assert found is not None


# --- what is said on the Clusters ----------------------------------------------------------------------------


def at(name: str) -> Key:
    return Key(*FLEET[:3], name)


def a_world(*states: tuple[str, float]) -> World:
    world = World(NOW)
    for name, (ready, since) in zip("abcdefgh", states, strict=False):
        world.put(cluster(name))
        say(world, name, ready, since)
    return world


def say(world: World, name: str, ready: str, since: float = 0.0) -> None:
    row = {"type": "Ready", "status": ready, "lastTransitionTime": rfc3339(world.now + since)}

    def change(obj: Any) -> None:
        rest = [c for c in obj["status"].get("conditions", []) if c["type"] != "Ready"]
        obj["status"]["conditions"] = [row, *rest]

    world.edit(at(name), change)


def standings(world: World) -> list[Standing]:
    return [standing_of(obj) for obj in world.list(*FLEET[:2])]


def settle(world: World) -> list[tuple[str, str, str]]:
    """Decide, and answer the events: on whom, type and reason."""
    plan = doubt.decide(world, FLEET, world.now, standings(world))
    world.apply(plan)
    assert not doubt.decide(world, FLEET, world.now, standings(world)).writes
    return [(event.regarding["metadata"]["name"], event.type, event.reason) for event in plan.events]


def held(world: World, name: str) -> tuple[str, str] | None:
    found = condition(world.objects[at(name)]["status"], doubt.EVICTIONS_HELD)
    return (found["status"], found["reason"]) if found else None


def test_a_doubt_is_a_condition_and_ends_when_most_are_back_for_a_minute() -> None:
    world = a_world(UP, *lost(3, 3))
    assert settle(world) == [("b", "Warning", "MostAgentsLost"), ("c", "Warning", "MostAgentsLost")]
    said = condition(world.objects[at("b")]["status"], doubt.EVICTIONS_HELD)
    assert said and said["message"].startswith("2 of 3 clusters were lost within a minute")
    assert "`towline release b --evictions`" in said["message"] and held(world, "a") is None
    assert doubt.decide(world, FLEET, world.now, standings(world)).requeue_after_seconds is None, (
        "nobody is back"
    )
    world.now += 100
    say(world, "c", "True")
    assert settle(world) == [("c", "Normal", "AgentReturned")]
    plan = doubt.decide(world, FLEET, world.now, standings(world))
    assert held(world, "b") == ("True", "MostAgentsLost") and plan.requeue_after_seconds == 60
    world.now += 60
    assert settle(world) == [("b", "Normal", "MostAgentsReturned")]
    assert held(world, "b") == ("False", "MostAgentsReturned")


@pytest.mark.parametrize(
    ("states", "wait"),
    [
        pytest.param([UP, ("True", -5.0)], None, id="nobody is lost"),
        pytest.param([*lost(90, 90), ("True", -20.0), ("True", -10.0)], 40, id="when the first of those who are back stayed"),
        pytest.param([*lost(90, 90), ("True", -60.0), ("True", -59.5)], 0.5, id="the next of them"),
        pytest.param([*lost(90, 90), ("True", 5.0)], 65, id="by a clock that runs ahead"),
    ],
)  # fmt: skip
def test_it_is_looked_at_again_when_one_may_count_as_back(states: list[Any], wait: float | None) -> None:
    plan = doubt.decide(World(NOW), FLEET, NOW, fleet(*states, held="ab"))
    assert plan.requeue_after_seconds == wait


def test_an_operator_ends_it_for_one_loss_of_one_cluster() -> None:
    world = a_world(*lost(0, 0, 0))
    settle(world)
    released = {RELEASE_EVICTIONS: rfc3339(world.now)}
    world.put(with_metadata(world.objects[at("b")], annotations=released))
    assert settle(world) == [("b", "Normal", "Released")]
    assert held(world, "a") == ("True", "MostAgentsLost")
    world.now += 1000
    say(world, "b", "True")
    settle(world)
    world.now += 1000
    say(world, "b", "Unknown")
    say(world, "c", "Unknown")
    assert settle(world) == [("b", "Warning", "MostAgentsLost")], "it was not said of this loss"


# --- what it never does --------------------------------------------------------------------------------------

EVICT = {
    "apiVersion": "policy.karmada.io/v1alpha1",
    "kind": "ClusterTaintPolicy",
    "metadata": {"name": "evict"},
    "spec": {
        "addOnConditions": [{"conditionType": "Ready", "operator": "In", "statusValues": ["Unknown", "False"]}],
        "removeOnConditions": [{"conditionType": "Ready", "operator": "In", "statusValues": ["True"]}],
        "taints": [{"key": "lost", "effect": "NoExecute"}],
    },
}  # fmt: skip
FACTS = ClusterFacts("v1", True)


@cases(40)
@given(
    st.integers(1, 9).flatmap(lambda count: st.tuples(st.just(count), st.integers(count // 2 + 1, count))),
    st.lists(st.floats(0.0, 15.0), min_size=9, max_size=9),
    st.floats(0.0, 10.0),
    st.booleans(),
)
def test_losing_most_agents_never_yields_a_no_execute_taint(
    counts: tuple[int, int], phases: list[float], spread: float, restart: bool
) -> None:
    """Agents fall silent within `spread` seconds, each somewhere between two of its heartbeats; the hub may start anew meanwhile."""
    count, dying = counts
    world = World(NOW)
    world.put(EVICT)
    clusters = [f"c{n}" for n in range(count)]
    sessions = Fleet(world.now)
    for name in clusters:
        world.put({**cluster(name), "status": {}})
        sessions.facts(name, FACTS, world.now)
    last = {name: NOW + 20 + spread * n / dying - phases[n] % 10 for n, name in enumerate(clusters[:dying])}

    def decide_all() -> None:
        for name in clusters:
            world.settle(health.decide, at(name), sessions.contact(name), sessions.started)
        settle(world)
        for name in clusters:
            found = doubts(standings(world), sessions.audible(world.now), world.now)
            world.settle(taint_policies.decide, at(name), lambda found=found: found)

    while world.now < NOW + 120:
        world.now += 1
        for name in clusters:
            if world.now <= last.get(name, NOW + 120):
                sessions.heard(name, world.now, api_server_ready=True)
        if restart and world.now == NOW + 45:
            sessions = Fleet(world.now)
            for name in clusters[dying:]:
                sessions.facts(name, FACTS, world.now)
        decide_all()
        for name in clusters:
            taints = world.objects[at(name)]["spec"].get("taints") or ()
            assert not any(taint["effect"] == "NoExecute" for taint in taints), (name, world.now - NOW)
    unknown = [s.name for s in standings(world) if s.ready == "Unknown"]
    assert unknown == clusters[:dying] and all(s.held for s in standings(world) if s.name in unknown)


def test_losing_a_few_yields_one_at_once() -> None:
    world = a_world(UP, UP, *lost(0))
    world.put(EVICT)
    found = doubts(standings(world), {"a", "b"}, world.now)
    world.settle(taint_policies.decide, at("c"), lambda: found)
    taints = world.objects[at("c")]["spec"]["taints"]
    assert taints == [{"key": "lost", "effect": "NoExecute", "timeAdded": rfc3339(world.now)}]
