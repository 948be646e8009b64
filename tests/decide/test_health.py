"""What Ready says of a cluster, which taints follow from it, and that flapping turns neither more often than the thresholds allow."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import World, cluster
from towline.hub.decide import health
from towline.hub.decide.conditions import condition, rfc3339
from towline.hub.decide.health import ClusterFacts, Contact, HealthLimits, Signs, Verdict, judge
from towline.hub.decide.plan import Plan
from towline.hub.decide.revocations import AGENTS, REVOCATIONS
from towline.hub.store.fleet import Fleet
from towline.kube.names import TAINT_NOT_READY, TAINT_UNREACHABLE
from towline.kube.objects import Key, Object, generation_of

M1 = Key("cluster.karmada.io", "clusters", "", "m1")
FACTS = ClusterFacts("v1.32.1", True, "", (("apps/v1", (("deployments", "Deployment"),)),), True)
BAD = ClusterFacts("v1.32.1", False, "etcd is down", (), False)
AWAY = replace(BAD, api_server_unreachable=True)
LIMITS = HealthLimits(success_threshold_seconds=30, failure_threshold_seconds=20)


@pytest.mark.parametrize(
    ("shown", "signs", "expected"),
    [
        pytest.param(None, Signs(0, True), ("True", 40), id="the first observation counts at once: ready"),
        pytest.param(None, Signs(0, False), ("False", 40), id="the first observation counts at once: not ready"),
        pytest.param(None, Signs(59), (None, 1), id="a new cluster has its start-up time"),
        pytest.param(None, Signs(60), ("Unknown", None), id="one that never reports is unknown"),
        pytest.param(None, Signs(40, True), ("Unknown", None), id="it reported and fell silent before it was judged"),
        pytest.param("True", Signs(10, True, 99, 99), ("True", 30), id="silence within the grace"),
        pytest.param("True", Signs(39.5, True, 99, 99), ("True", 0.5), id="silence at the end of the grace"),
        pytest.param("True", Signs(40, True, 99, 99), ("Unknown", None), id="silence beyond the grace"),
        pytest.param("False", Signs(40, False, 99, 99), ("Unknown", None), id="silence of one that was not ready"),
        pytest.param("Unknown", Signs(500, True, 99, 99), ("Unknown", None), id="silence goes on"),
        pytest.param("True", Signs(39), (None, 1), id="a hub that just started waits before it says anything"),
        pytest.param("True", Signs(40), ("Unknown", None), id="a hub that heard nothing since its start"),
        pytest.param("True", Signs(5, False, 19, 99), (None, 1), id="not ready for less than the threshold"),
        pytest.param("True", Signs(5, False, 20, 99), ("False", 35), id="not ready for the threshold"),
        pytest.param("False", Signs(5, True, 29, 99), (None, 1), id="ready for less than the threshold"),
        pytest.param("False", Signs(5, True, 30, 99), ("True", 35), id="ready for the threshold"),
        pytest.param("True", Signs(38, False, 12, 99), (None, 2), id="the grace may end before the threshold"),
        pytest.param("Unknown", Signs(0, True, 0, 0), ("True", 40), id="back after a loss: at once"),
        pytest.param("Unknown", Signs(0, False, 0, 0), ("False", 40), id="back and not ready: at once"),
        pytest.param("Unknown", Signs(0, True, 0, 29, True), (None, 1), id="back from flapping: not at once"),
        pytest.param("Unknown", Signs(0, True, 0, 30, True), ("True", 40), id="back from flapping: after the threshold"),
        pytest.param("Unknown", Signs(0), (None, 40), id="connected, no facts yet"),
    ],
)  # fmt: skip
def test_judge(shown: str | None, signs: Signs, expected: tuple[str | None, float | None]) -> None:
    assert judge(shown, signs, LIMITS) == Verdict(*expected)


def a_world(**status: Any) -> World:
    world = World()
    world.put({**cluster("m1"), "status": status})
    return world


def ready(world: World) -> tuple[Any, Any]:
    found = condition(world.objects[M1].get("status"), "Ready") or {}
    return found.get("status"), found.get("reason")


def taints(world: World) -> list[str]:
    found = world.objects[M1]["spec"].get("taints") or ()
    return [f"{taint['key']}:{taint['effect']}" for taint in found]


def heard(world: World, facts: ClusterFacts | None, ago: float = 0.0, **more: Any) -> Contact:
    at = world.now - ago
    return Contact(True, at, at, heard_since=at, facts=facts, said_since=at, **more)


@pytest.mark.parametrize(
    ("before", "contact", "hub_age", "expected"),
    [
        (None, (1, FACTS), 999, ("True", "ClusterReady")),
        (None, (39, FACTS), 999, ("True", "ClusterReady")),
        (None, (41, FACTS), 999, ("Unknown", "ClusterStatusUnknown")),
        (None, (1, BAD), 999, ("False", "ClusterNotReady")),
        (None, (1, AWAY), 999, ("False", "ClusterNotReachable")),
        (None, None, 59, (None, None)),
        (None, None, 61, ("Unknown", "ClusterStatusNeverUpdated")),
        (None, (1, None), 999, (None, None)),  # connected, no facts yet
        ("True", None, 39, ("True", "ClusterReady")),  # the hub was away itself
        ("True", None, 41, ("Unknown", "ClusterStatusUnknown")),
    ],
)
def test_ready_and_its_reason(before: str | None, contact: Any, hub_age: float, expected: Any) -> None:
    world = a_world()
    if before:
        world.settle(health.decide, M1, heard(world, FACTS), world.now)
    world.now += 1000
    seen = contact and heard(world, contact[1], contact[0])
    world.settle(health.decide, M1, seen, world.now - hub_age)
    assert ready(world) == expected


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (BAD, "etcd is down"),
        (AWAY, "etcd is down"),
        (
            replace(BAD, api_server_message=""),
            "cluster is reachable but health endpoint responded without ok",
        ),
        (replace(AWAY, api_server_message=""), "cluster is not reachable"),
    ],
)
def test_what_the_agent_says_is_why_it_is_not_ready(facts: ClusterFacts, message: str) -> None:
    world = a_world()
    world.settle(health.decide, M1, heard(world, facts), 0.0)
    assert (condition(world.objects[M1]["status"], "Ready") or {})["message"] == message


def test_a_cluster_that_never_reported_does_not_turn_into_one_that_stopped() -> None:
    world = a_world()
    world.now += 61
    world.settle(health.decide, M1, None, 0.0)
    world.now += 1000
    assert world.settle(health.decide, M1, None, 0.0)[0] == Plan()
    assert ready(world) == ("Unknown", "ClusterStatusNeverUpdated")


@pytest.mark.parametrize(
    ("shown", "of", "told"),
    [
        pytest.param(0, "", True, id="it showed one that was revoked"),
        pytest.param(1, "", False, id="it came back with a new one, and was lost then"),
        pytest.param(0, "older", False, id="of an earlier Cluster of the name"),
    ],
)
def test_of_a_silent_cluster_it_is_told_that_it_was_revoked(shown: int, of: str, told: bool) -> None:
    world = a_world()
    world.settle(health.decide, M1, heard(world, FACTS), 0.0)
    uid = of or world.objects[M1]["metadata"]["uid"]
    world.objects[Key(*AGENTS, "", "m1")] = {"spec": {"cluster_uid": uid, "generation": shown}}
    world.objects[Key(*REVOCATIONS, "", "m1")] = {"spec": {"clusterUID": uid, "generation": 1}}
    world.now += 1000
    world.settle(health.decide, M1, heard(world, FACTS, 1000), 0.0)
    message = (condition(world.objects[M1]["status"], "Ready") or {})["message"]
    assert message.startswith("the agent of cluster m1 stopped reporting")
    assert ("its certificates were revoked, `towline join m1`" in message) is told


def test_a_silent_cluster_is_looked_at_again_in_time_and_heals() -> None:
    world = a_world()
    seen = replace(heard(world, FACTS), connected=False)
    plans = world.settle(health.decide, M1, seen, 0.0)
    assert plans[-1].requeue_after_seconds == 40
    world.now += 40
    events = [(e.type, e.reason) for p in world.settle(health.decide, M1, seen, 0.0) for e in p.events]
    assert ready(world) == ("Unknown", "ClusterStatusUnknown")
    assert events == [("Warning", "ClusterStatusUnknown"), ("Normal", "TaintClusterSucceed")]
    world.settle(health.decide, M1, heard(world, FACTS), 0.0)
    assert ready(world) == ("True", "ClusterReady")


def test_of_a_session_that_lasts_heartbeats_are_no_work() -> None:
    """Its end is told; looked at is it all the same, once in a while, and is unknown when it was silent."""
    world = a_world()
    seen = heard(world, FACTS)
    plans = world.settle(health.decide, M1, seen, 0.0)
    assert plans[-1].requeue_after_seconds == 400
    world.now += 400
    world.settle(health.decide, M1, seen, 0.0)
    assert ready(world) == ("Unknown", "ClusterStatusUnknown")


# --- taints --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "present", [[], [TAINT_NOT_READY], [TAINT_UNREACHABLE], [TAINT_NOT_READY, TAINT_UNREACHABLE]]
)
@pytest.mark.parametrize(
    ("facts", "ago", "expected"),
    [
        pytest.param(FACTS, 0, [], id="True: none of the two"),
        pytest.param(BAD, 0, [TAINT_NOT_READY], id="False: not-ready"),
        pytest.param(FACTS, 40, [TAINT_UNREACHABLE], id="Unknown: unreachable"),
        pytest.param(None, 0, [TAINT_NOT_READY], id="never said: not-ready"),
    ],
)  # fmt: skip
def test_taints_follow_ready(
    present: list[str], facts: ClusterFacts | None, ago: float, expected: list[str]
) -> None:
    theirs = {"key": "theirs", "value": "x", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    wider = {"key": TAINT_NOT_READY, "effect": "PreferNoSchedule"}
    world = World()
    ours = [{"key": key, "effect": "NoSchedule"} for key in present]
    world.put({**cluster("m1", taints=[theirs, *ours, wider]), "status": {}})
    world.now += 1000
    world.settle(health.decide, M1, heard(world, facts, ago), 0.0)
    found = world.objects[M1]["spec"]["taints"]
    assert theirs in found and wider in found, "what is not the health's stays as it is"
    assert [taint["key"] for taint in found if taint["effect"] == "NoSchedule"] == expected


@pytest.mark.parametrize(
    ("present", "since"),
    [
        pytest.param([], None, id="now"),
        pytest.param([("theirs", "NoExecute", 100.0)], None, id="whatever taint it has of others"),
        pytest.param([(TAINT_NOT_READY, "NoSchedule", 300.0)], 300.0, id="as old as the one it follows"),
        pytest.param([(TAINT_NOT_READY, "NoSchedule", None)], None, id="which may have no time"),
        pytest.param([(TAINT_NOT_READY, "NoSchedule", 300.0), ("other", "NoSchedule", 100.0)], 300.0, id="and not as others"),
    ],
)  # fmt: skip
def test_since_when_it_is_not_well(present: list[tuple[str, str, float | None]], since: float | None) -> None:
    world = World()
    rows = [
        {"key": key, "effect": effect} | ({"timeAdded": rfc3339(at)} if at is not None else {})
        for key, effect, at in present
    ]
    world.put({**cluster("m1", taints=rows), "status": {}})
    world.now += 1000
    world.settle(health.decide, M1, heard(world, FACTS, 40), 0.0)
    (found,) = [t for t in world.objects[M1]["spec"]["taints"] if t["key"] == TAINT_UNREACHABLE]
    assert found["timeAdded"] == rfc3339(world.now if since is None else since)


def test_status_and_taints_are_one_commit_that_counts_as_a_change_of_the_spec() -> None:
    world = a_world()
    world.settle(health.decide, M1, None, 0.0)
    assert taints(world) == [f"{TAINT_NOT_READY}:NoSchedule"]
    before, commits = generation_of(world.objects[M1]), world.commits
    plans = world.settle(health.decide, M1, heard(world, FACTS), 0.0)
    assert world.commits == commits + 1 and ready(world)[0] == "True" and taints(world) == []
    assert "taints" not in world.objects[M1]["spec"] and generation_of(world.objects[M1]) == before + 1
    assert [(e.type, e.reason, e.message) for e in plans[0].events] == [
        ("Normal", "ClusterReady", "cluster is healthy and ready to accept workloads"),
        ("Normal", "TaintClusterSucceed", "Taint cluster succeed: cluster now does not have taints."),
    ]


def test_a_cluster_whose_status_nobody_wrote_is_judged_like_any_other() -> None:
    world = World()
    at = world.put({field: value for field, value in cluster("m1").items() if field != "status"})
    assert "status" not in world.objects[at]
    world.settle(health.decide, M1, None, world.now)
    assert taints(world) == [f"{TAINT_NOT_READY}:NoSchedule"]
    world.settle(health.decide, M1, heard(world, FACTS), 0.0)
    assert ready(world) == ("True", "ClusterReady")


def test_the_event_says_which_taints_the_cluster_has() -> None:
    world = World()
    world.put({**cluster("m1", taints=[{"key": "a", "value": "b", "effect": "PreferNoSchedule"}]), "status": {}})  # fmt: skip
    plans = world.settle(health.decide, M1, heard(world, BAD), 0.0)
    assert plans[0].events[-1].message == (
        "Taint cluster succeed: cluster now has taints([{Key:a,Value:b,Effect:PreferNoSchedule},"
        "{Key:cluster.karmada.io/not-ready,Effect:NoSchedule}])."
    )


# --- the rest of the status ----------------------------------------------------------------------------------


def status_after(*facts: ClusterFacts) -> Object:
    world = a_world()
    for fact in facts:
        world.settle(health.decide, M1, heard(world, fact), 0.0)
    status: Object = world.objects[M1]["status"]
    return status


def test_facts_become_status_and_a_failed_discovery_erases_nothing() -> None:
    status = status_after(FACTS)
    assert status["kubernetesVersion"] == "v1.32.1"
    assert status["apiEnablements"] == [
        {"groupVersion": "apps/v1", "resources": [{"name": "deployments", "kind": "Deployment"}]}
    ]
    assert (condition(status, "CompleteAPIEnablements") or {})["reason"] == "Complete"
    kept = status_after(FACTS, BAD)
    assert kept["apiEnablements"] == status["apiEnablements"]
    assert (condition(kept, "CompleteAPIEnablements") or {})["reason"] == "Empty"
    partly = status_after(FACTS, replace(FACTS, kubernetes_version="", api_enablements_complete=False))
    assert partly["kubernetesVersion"] == "v1.32.1"
    assert (condition(partly, "CompleteAPIEnablements") or {})["reason"] == "Partial"


def test_what_the_delete_breaker_holds_is_a_condition() -> None:
    world = a_world()
    contact = heard(world, FACTS)
    world.settle(health.decide, M1, contact, 0.0)
    assert condition(world.objects[M1]["status"], "DeletionsHeld") is None
    world.settle(health.decide, M1, heard(world, FACTS, deletions_held=(12, "DeleteLimit")), 0.0)
    said = condition(world.objects[M1]["status"], "DeletionsHeld")
    assert said and said["status"] == "True" and said["reason"] == "DeleteLimit"
    assert said["message"].startswith("12 objects unknown to the hub are kept: they are more than")
    world.settle(health.decide, M1, heard(world, None), 0.0)
    assert condition(world.objects[M1]["status"], "DeletionsHeld") == said, (
        "the agent of a new session has not said yet"
    )
    world.settle(health.decide, M1, contact, 0.0)
    assert (condition(world.objects[M1]["status"], "DeletionsHeld") or {})["status"] == "False"


def test_nothing_to_decide_about_a_cluster_that_is_not_there() -> None:
    assert health.decide(World(), M1, 0.0, None, 0.0) == Plan()


# --- flapping ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "back"),
    [
        pytest.param((), True, id="never lost"),
        pytest.param((-5.0,), True, id="lost once"),
        pytest.param((-604.9, -5.0), False, id="twice in a short time"),
        pytest.param((-605.0, -5.0), True, id="twice, long apart"),
        pytest.param((-900.0, -605.0, -5.0), True, id="of more the last two count"),
    ],
)
def test_who_flaps_is_not_back_at_once(losses: tuple[float, ...], back: bool) -> None:
    world = a_world(conditions=[{"type": "Ready", "status": "Unknown", "reason": "ClusterStatusUnknown"}])
    lost = tuple(world.now + at for at in losses)
    world.settle(health.decide, M1, heard(world, FACTS, losses=lost), 0.0)
    assert (ready(world)[0] == "True") is back


_steps = st.lists(
    st.tuples(st.floats(0.1, 100), st.sampled_from(["ready", "not ready", "facts", "silence", "cut off"])),
    min_size=1,
    max_size=40,
)


@cases(300)
@given(_steps, st.builds(HealthLimits, *[st.floats(1, 120)] * 4))
def test_flapping_never_flips_more_often_than_the_thresholds_allow(
    steps: list[tuple[float, str]], limits: HealthLimits
) -> None:
    """A flip between True and False comes its threshold after the flip before it, one to Unknown the grace after the last one to
    Unknown; and who was lost twice in a short time has to be heard for the success threshold."""
    world = a_world()
    fleet = Fleet(world.now, limits)
    flips: list[tuple[float, Any]] = [(world.now, None)]

    def look() -> None:
        contact = fleet.contact("m1")
        plans = world.settle(health.decide, M1, contact, fleet.started, limits)
        assert taints(world) == TAINTED[ready(world)[0]] and not plans[-1].writes
        if ready(world)[0] == flips[-1][1]:
            return
        if flips[-1][1] == "Unknown" and contact and len(contact.losses) > 1:
            short = contact.losses[1] - contact.losses[0] < limits.flapping_seconds
            assert not short or world.now - contact.heard_since >= limits.success_threshold_seconds
        flips.append((world.now, ready(world)[0]))

    for seconds, what in steps:
        world.now += seconds
        look()
        match what:
            case "ready" | "not ready":
                fleet.heard("m1", world.now, api_server_ready=what == "ready")
            case "facts":
                fleet.facts("m1", FACTS, world.now)
            case "cut off":
                fleet.disconnected("m1", world.now)
        look()
    thresholds = {("True", "False"): limits.failure_threshold_seconds}
    thresholds["False", "True"] = limits.success_threshold_seconds
    for (before, status), (at, after) in pairwise(flips):
        assert at - before >= thresholds.get((status, after), 0.0)
    for before, at in pairwise(at for at, status in flips if status == "Unknown"):
        assert at - before >= limits.monitor_grace_seconds


TAINTED = {
    None: [f"{TAINT_NOT_READY}:NoSchedule"],
    "False": [f"{TAINT_NOT_READY}:NoSchedule"],
    "Unknown": [f"{TAINT_UNREACHABLE}:NoSchedule"],
    "True": [],
}
