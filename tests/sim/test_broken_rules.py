"""The simulation finds what it is there for: that one of these rules is broken, some of the first seeds find out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.sim import seeds
from tests.sim.failing import FailingSimulation
from tests.sim.parting import PartingSimulation
from tests.sim.simulation import Simulation
from towline.agent.cutoff import Cutoff
from towline.hub.controllers.world import World
from towline.hub.decide import departures, eviction, failback, graceful, origins, tolerance, works
from towline.hub.decide.departures import Departure
from towline.hub.decide.plan import Plan, Put
from towline.hub.decide.scheduling import filters
from towline.hub.gateway import farewell
from towline.kube.objects import Object, revision_of
from towline.proto import fleet_pb2 as fleet

SEEDS = 200
real_return, real_evict, real_verdict = origins.rule_of, eviction._evict, farewell.verdict
real_replacement, real_departures, real_leaves = (
    graceful._replacement,
    departures.departures,
    tolerance.leaves,
)


def leaves_for_nowhere(case: Any, due: Sequence[Departure]) -> Plan:
    plan = real_evict(case, due)
    if "eviction" not in plan.reasons:
        return plan
    gone = {departure.cluster for departure in due}
    spec = {**case.binding["spec"], "gracefulEvictionTasks": [eviction._task(case, each) for each in due]}
    spec["clusters"] = [target for target in spec["clusters"] if target["name"] not in gone]
    return Plan((Put(case.key, {**case.binding, "spec": spec}, revision_of(case.binding)),))


def any_number_at_a_time(spec: Object) -> Any:
    rule = real_return(spec)
    return rule and {**rule, "maxConcurrent": 5}


def is_there_in_any_case(*about: Any) -> Any:
    return real_replacement(*about)._replace(applied=True)


def drains_as_the_policy_says(binding: Object, *about: Any) -> Iterator[Departure]:
    rule = (binding["spec"].get("failover") or {}).get("cluster") or {}
    for departure in real_departures(binding, *about):
        yield departure._replace(rule=rule) if departure.at_once else departure


def drains_nothing(*about: Any) -> list[tolerance.Leave]:
    return [leave for leave in real_leaves(*about) if not leave.at_once]


def removes_in_any_case(*about: Any) -> fleet.Detached:
    said = real_verdict(*about)
    said.remains = fleet.REMOVE
    return said


RULES: dict[str, tuple[object, str, object]] = {
    "a-copy-leaves-when-another-is-ready": (graceful, "_replacement", lambda *_: graceful._There(True, True)),
    "what-is-applied-is-not-ready-yet": (graceful, "shown", lambda *_: 1000),
    "a-copy-in-a-lost-cluster-replaces-none": (graceful, "_answers", lambda *_: True),
    "old-reports-are-not-of-the-new-copy": (failback, "without_old_reports", lambda binding, _: binding),
    "with-nowhere-to-go-nothing-leaves": (eviction, "_evict", leaves_for_nowhere),
    "nothing-leaves-for-a-lost-cluster": (eviction, "_unfit", lambda *_: None),
    "nothing-is-sent-before-the-purge": (works, "purging", lambda _: []),
    "a-lost-fleet-is-a-lost-hub": (World, "doubt", lambda *_: None),
    "what-returns-waits-until-its-cluster-is-stable": (failback, "_well_since", lambda *_: 0.0),
    "only-so-much-returns-at-a-time": (origins, "rule_of", any_number_at_a_time),
    "what-is-cut-off-stops-by-itself": (Cutoff, "seconds", lambda *_: 0.0),
    "what-fails-may-do-so-for-its-time": (departures, "_tolerated_seconds", lambda _: 0),
    "a-grace-that-ended-needs-a-replacement": (graceful, "_replacement", is_there_in_any_case),
    "what-is-drained-is-empty": (departures, "leaves", drains_nothing),
    "nothing-comes-to-a-drained-cluster": (filters, "welcomes", lambda *_, **__: True),
    "what-was-drained-is-not-to-return": (eviction, "departures", drains_as_the_policy_says),
    "a-late-agent-learns-that-it-left": (farewell, "detached", lambda *_: None),
    "a-late-agent-does-what-was-chosen": (farewell, "verdict", removes_in_any_case),
}
FOUND_BY = {
    "what-is-applied-is-not-ready-yet": 4,
    "a-copy-in-a-lost-cluster-replaces-none": 2,
    "old-reports-are-not-of-the-new-copy": 63,
    "with-nowhere-to-go-nothing-leaves": 5,
    "nothing-leaves-for-a-lost-cluster": 30,
    "nothing-is-sent-before-the-purge": 1,
    "what-returns-waits-until-its-cluster-is-stable": 1,
    "only-so-much-returns-at-a-time": 1,
    "what-is-cut-off-stops-by-itself": 6,
    "a-grace-that-ended-needs-a-replacement": 2,
    "what-is-drained-is-empty": 4,
    "nothing-comes-to-a-drained-cluster": 9,
    "what-was-drained-is-not-to-return": 12,
    "a-late-agent-does-what-was-chosen": 1,
}
"""The first seed that did when this was written, where it was not the first of all. It is tried first."""
PARTING = {"a-late-agent-learns-that-it-left", "a-late-agent-does-what-was-chosen"}


@pytest.mark.parametrize("rule", RULES)
async def test_a_broken_rule_is_found(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario: type[Simulation] = PartingSimulation if rule in PARTING else FailingSimulation
    monkeypatch.setattr(*RULES[rule])
    for seed in (FOUND_BY.get(rule, 0), *range(SEEDS)):
        try:
            await seeds.run(scenario(seed), seed)
        except BaseExceptionGroup as found:
            assert found.subgroup(AssertionError) is not None
            print(f"found by seed {seed}")
            return
    pytest.fail(f"no seed of {SEEDS} finds out that not: {rule}")
