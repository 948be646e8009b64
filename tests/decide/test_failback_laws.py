"""Failback over random histories: clusters are lost and come back, agents are slow, returns fail, the policy changes its mind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide import failing, returning
from tests.decide.failing import ONE_OF_ALL, lose, shop, taint, targets
from tests.decide.returning import remembered
from tests.decide.test_eviction import DIVIDED, TWO
from tests.decide.test_eviction_laws import NAMES, POLICY, WANTED
from tests.decide.test_eviction_laws import _do as happen
from tests.decide.test_propagation import BINDING, WEB
from tests.decide.world import World
from towline.hub.decide import bindings, origins, propagation
from towline.kube.objects import Object

RETURN = {"mode": "Return", "stabilizationSeconds": 100}
FAILOVERS: tuple[Object, ...] = (
    {"cluster": {"failback": RETURN}},
    {"cluster": {"failback": RETURN, "purgeMode": "Directly"}},
    {"cluster": {"failback": RETURN}, "application": {"purgeMode": "Gracefully", "gracePeriodSeconds": 60}},
)
GROUPS: Object = {
    "clusterAffinities": [
        {"affinityName": "a", "clusterNames": ["m1", "m2"]},
        {"affinityName": "b", "clusterNames": ["m3", "m4"]},
    ],
    "replicaScheduling": {"replicaSchedulingType": "Duplicated"},
}
_clusters = st.sampled_from(NAMES)
_steps = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["lose", "not ready", "recover", "recover", "taint", "untaint"]), _clusters
        ),
        st.tuples(st.sampled_from(["healthy", "healthy", "failing", "obey", "obey"]), _clusters),
        st.tuples(st.just("wait"), st.sampled_from(["1", "100", "100", "300", "700"])),
        st.tuples(st.sampled_from(["touch", "keep", "return"]), st.just("")),
    ),
    max_size=20,
)


@cases(25)
@given(st.sampled_from([ONE_OF_ALL, TWO, DIVIDED, GROUPS]), st.sampled_from(FAILOVERS), _steps)
def test_laws(placement: Object, failover: Object, steps: list[tuple[str, str]]) -> None:
    world = shop(placement, NAMES, failover, replicas=WANTED, propagateDeps=True)
    lose(world, "m1")
    steps = [("wait", "700"), *(("healthy", name) for name in NAMES), ("recover", "m1"), *steps]
    for step, value in steps:
        if step in ("keep", "return"):
            mode = step.capitalize()
            world.edit(
                POLICY,
                lambda obj, mode=mode: obj["spec"]["failover"]["cluster"]["failback"].update(mode=mode),  # type: ignore[misc]
            )
            world.settle(propagation.decide, WEB)
        else:
            happen(world, step, value)
        _settle(world)
    _end_well(world)


def _settle(world: World) -> None:
    for _ in range(30):
        before = world.objects[BINDING]
        if (plan := failing.decide(world)).writes:
            world.apply(plan)
            _check_given_up(before, world.objects[BINDING])
        elif (plan := returning.decide(world)).writes:
            world.apply(plan)
            _check_return(before, world.objects[BINDING])
        else:
            break
        world.settle(propagation.decide, WEB)
        _check_memory(world.objects[BINDING])
    assert failing.decide(world).writes == () and returning.decide(world).writes == (), (
        "at rest no plan writes"
    )
    assert propagation.decide(world, WEB, world.now).writes == ()


def _check_given_up(before: Object, after: Object) -> None:
    """A stand-in leaves only for a copy that works, unless its cluster is left anyway."""
    gone = [t for t in before["spec"].get("gracefulEvictionTasks") or () if origins.is_return(t)]
    left = {t["fromCluster"] for t in after["spec"].get("gracefulEvictionTasks") or ()}
    known, wanted = bindings.observed(after), bindings.targets(after)
    for task in gone:
        if task["fromCluster"] in left or task["fromCluster"] in bindings.desired(after):
            continue
        entries = [known[name] for name in wanted]
        assert entries and all(entry.get("health") == "Healthy" for entry in entries)
        assert sum(entry["status"]["readyReplicas"] for entry in entries) >= WANTED


def _check_return(before: Object, after: Object) -> None:
    """By failback itself nothing is given up but what is on its way; and who may hold a copy is written down."""
    had, has = bindings.desired(before), bindings.desired(after)
    assert set(has) <= set(bindings.observed(after))
    direct = {t["fromCluster"] for t in origins.returning_tasks(after) if not origins.is_return(t)}
    homes = {origin.cluster for origin in origins.origins_of(after)}
    if not origins.returning_tasks(after):  # taken back: what had returned goes
        homes |= bindings.targets(before).keys() - bindings.targets(after).keys()
    straight = any(t.get("purgeMode") == "Directly" for t in after["spec"].get("gracefulEvictionTasks") or ())
    purges = ((after["spec"].get("failover") or {}).get("cluster") or {}).get("purgeMode") == "Directly"
    for name, count in had.items():
        assert has.get(name, -1) >= count or name in direct or name in homes or straight or purges


def _check_memory(binding: Object) -> None:
    known = origins.origins_of(binding)
    assert len({origin.cluster for origin in known}) == len(known) <= origins.ORIGINS_MAX
    assert all(origin.cluster not in origin.stand_ins for origin in known)
    mark = (binding["metadata"].get("labels") or {}).get("towline.io/failback")
    moving = bool(origins.returning_tasks(binding))
    assert mark == (origins.RETURNING if moving else origins.WAITING if known else None)


def _end_well(world: World) -> None:
    """When all clusters are well, agents obey and copies work, everything comes home and nothing is remembered."""
    for name in NAMES:
        taint(world, name)
        lose(world, name, "True")
    for _ in range(6):
        world.settle(propagation.decide, WEB)
        for _ in range(3):
            for name in NAMES:
                happen(world, "obey", name)
                happen(world, "healthy", name)
            _settle(world)
        world.now += 400
        _settle(world)
    assert remembered(world) == {}
    assert not world.objects[BINDING]["spec"].get("gracefulEvictionTasks")
    assert targets(world)
