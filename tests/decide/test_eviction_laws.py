"""Eviction over random histories: clusters are lost and come back, are tainted and drained, copies fail, agents are slow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide import failing
from tests.decide.failing import ONE_OF_ALL, REMOVED, decide, lose, report, shop, targets, tasks, works
from tests.decide.test_eviction import DIVIDED, DRAIN, TWO
from tests.decide.test_propagation import BINDING, WEB
from tests.decide.test_tolerance import tainted
from tests.decide.world import World
from towline.hub.decide import bindings, propagation
from towline.hub.decide import works as rendering
from towline.hub.decide.conditions import epoch
from towline.hub.decide.graceful import GRACE_SECONDS
from towline.kube.objects import Key, Object

NAMES = ("m1", "m2", "m3", "m4")
WANTED = 4
FAILOVERS: tuple[Object, ...] = (
    {"cluster": {}},
    {"cluster": {"purgeMode": "Directly"}},
    {"cluster": {"purgeMode": "Never"}},
    {"cluster": {}, "application": {"purgeMode": "Gracefully", "gracePeriodSeconds": 60}},
    {"application": {"purgeMode": "Directly"}},
)
POLICY = Key("policy.karmada.io", "propagationpolicies", "shop", "web")
_placements = st.sampled_from([ONE_OF_ALL, TWO, DIVIDED, {"clusterAffinity": {"clusterNames": ["m1", "m2"]}}])
_clusters = st.sampled_from(NAMES)
_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["lose", "not ready", "recover", "taint", "drain", "untaint"]), _clusters),
        st.tuples(st.sampled_from(["healthy", "healthy", "failing", "obey", "obey"]), _clusters),
        st.tuples(st.just("wait"), st.sampled_from(["1", "100", "300", "700"])),
        st.tuples(st.sampled_from(["touch", "nowhere", "anywhere"]), st.just("")),
    ),
    max_size=16,
)


@cases(150)
@given(_placements, st.sampled_from(FAILOVERS), _steps)
def test_laws(placement: Object, failover: Object, steps: list[tuple[str, str]]) -> None:
    world = shop(placement, NAMES, failover, replicas=WANTED, propagateDeps=True)
    most = max(len(targets(world)), 1)
    _check_size(world, placement, most)
    for step, value in steps:
        _do(world, step, value)
        for _ in range(20):
            before = world.objects[BINDING]
            plan = decide(world)
            if not plan.writes:
                break
            world.apply(plan)
            _check_leaving(world, before)
            _check_size(world, placement, most)
            world.settle(propagation.decide, WEB)
            _check_size(world, placement, most)
        assert decide(world).writes == (), "at rest no plan contains a write"
        assert propagation.decide(world, WEB, world.now).writes == ()


def _check_leaving(world: World, before: Object) -> None:
    """Whose copy is given up by this commit: its replacement is there, or somebody said that it goes at once."""
    after = world.objects[BINDING]
    given_up = bindings.desired(before).keys() - bindings.desired(after).keys()
    known, old_tasks = bindings.observed(after), {t["fromCluster"]: t for t in _tasks(before)}
    for cluster in given_up:
        task = old_tasks.get(cluster)
        if task is None:
            assert tasks(world)[cluster]["purgeMode"] == "Directly", f"{cluster} left without a task"
            continue
        assert targets(world), "an old copy never leaves for nothing"
        there = [known[name] for name in targets(world)]
        assert all(entry.get("applied") for entry in there), f"{cluster} left before its replacement came"
        created, grace = epoch(task["creationTimestamp"]), task.get("gracePeriodSeconds", GRACE_SECONDS)
        assert created is not None
        if world.now < created + grace:
            ready = sum(entry["status"]["readyReplicas"] for entry in there)
            assert ready >= WANTED, f"{cluster} left, and {ready} of {WANTED} replicas are ready"
            assert all(entry["health"] == "Healthy" for entry in there)


def _check_size(world: World, placement: Object, most: int) -> None:
    """Never more is wanted than the policy says and what is on the move."""
    wanted, moving = targets(world), tasks(world)
    assert not wanted.keys() & moving.keys()
    assert len(moving) == len(_tasks(world.objects[BINDING])), "no cluster is left twice at once"
    if "replicaScheduling" in placement and "spreadConstraints" not in placement:
        assert sum(wanted.values()) in (WANTED, 0)
    else:
        assert len(wanted) <= most
    assert set(bindings.desired(world.objects[BINDING])) <= set(bindings.observed(world.objects[BINDING]))


def _confine(placement: Object, *, nowhere: bool) -> None:
    """Or the policy lets it go where it could before."""
    affinity: Object = placement.setdefault("clusterAffinity", {})
    affinity["exclude"] = list(NAMES) if nowhere else []


def _tasks(binding: Mapping[str, Any]) -> list[Object]:
    found: list[Object] = binding["spec"].get("gracefulEvictionTasks") or []
    return found


def _do(world: World, step: str, value: str) -> None:
    spec = world.objects[Key("cluster.karmada.io", "clusters", "", value)]["spec"] if value in NAMES else {}
    dead = any(taint["effect"] == "NoSchedule" for taint in spec.get("taints") or ())
    match step:
        case "lose" | "not ready" | "recover":
            lose(world, value, {"lose": "Unknown", "not ready": "False", "recover": "True"}[step])
        case "taint" | "drain" | "untaint":
            others = [taint for taint in spec.get("taints") or () if taint["effect"] == "NoSchedule"]
            more = {"taint": [tainted(seconds=world.now - 1_000_000)], "drain": [DRAIN], "untaint": []}[step]
            failing.taint(world, value, *others, *more)
        case "healthy" | "failing" if not dead and value in targets(world):
            count = targets(world)[value]
            report(world, **{value: works(count) if step == "healthy" else works(0, "Unhealthy")})
        case "obey" if not dead:
            sent = rendering.of_binding(BINDING, world.objects[BINDING], world.objects[WEB], 1)
            if value in sent and sent[value].removing:
                report(world, **{value: REMOVED})
        case "wait":
            world.now += int(value)
        case "nowhere" | "anywhere":
            world.edit(POLICY, lambda obj: _confine(obj["spec"]["placement"], nowhere=step == "nowhere"))
        case "touch":
            world.edit(WEB, lambda obj: obj["metadata"].setdefault("labels", {}).update(at=str(world.now)))
    world.settle(propagation.decide, WEB)
