"""For how long an agent is cut off, and what it stops because of that."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from tests.session.pair import Pair, work
from towline.agent import execution
from towline.agent.cutoff import Cutoff
from towline.agent.desired import Changed, Desired, HeldWork
from towline.agent.session import NotCutOff
from towline.hub.decide.wire import WireWork
from towline.kube import names
from towline.kube.objects import Object
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import work_hash

FOREVER = float("inf")


def bounded(name: str, seconds: int = 30) -> WireWork:
    plain = work(name)
    digest = work_hash(plain.manifests, 0, False, seconds)
    return replace(plain, stop_after_seconds=seconds, hash=digest)


def row(seconds: int) -> HeldWork:
    return HeldWork("a", "u", 1, 1, "s", b"h", (), 0, False, stop_after_seconds=seconds)


@pytest.mark.parametrize(
    ("heard_at", "wall", "seconds"),
    [
        (None, 5000.0, FOREVER),
        (4990.0, 5000.0, 10.0),
        (5000.0, 5000.0, 0.0),
        (5001.0, 5000.0, FOREVER),
        (1.0, 5000.0, 4999.0),
    ],
    ids=[
        "never heard",
        "a moment ago",
        "just now",
        "the clock went back",
        "long ago, or the clock went ahead",
    ],
)
def test_after_a_restart(heard_at: float | None, wall: float, seconds: float) -> None:
    assert Cutoff(heard_at, 70.0, wall).seconds(70.0) == seconds


def test_what_counts_is_when_it_was_sent() -> None:
    cutoff = Cutoff(None, 0.0, 0.0)
    assert cutoff.heard(100.0)
    assert not cutoff.heard(90.0), "an answer that comes late says nothing new"
    assert not cutoff.heard(100.0), "nor does a second one"
    assert cutoff.seconds(120.0) == 20.0


@pytest.mark.parametrize(
    ("stop_after", "away", "stops"),
    [(0, 1e9, False), (30, 29.9, False), (30, 30.0, True), (30, 1e9, True), (1, 1.0, True)],
    ids=["never", "not yet", "now", "long since", "a second"],
)
def test_what_stops(stop_after: int, away: float, stops: bool) -> None:
    cutoff, held = Cutoff(0.0, 0.0, 0.0), row(stop_after)
    assert cutoff.stops(held, away) is stops
    assert cutoff.stopped(Desired([held]), away) == ({held.name} if stops else set())


def test_what_is_left_as_it_is_is_not_stopped() -> None:
    """The cluster was detached, and nobody looks after it from then on."""
    desired = Desired([row(30)])
    desired.detach(fleet.LEAVE, Changed())
    assert not desired.bounded


# --- the session ---------------------------------------------------------------------------------------------


def heard(pair: Pair) -> list[float]:
    found = [effect.since for effect in pair.agent_effects if isinstance(effect, NotCutOff)]
    pair.agent_effects.clear()
    return found


def test_the_hub_answers_heartbeats_and_the_agent_counts_from_when_it_sent_them() -> None:
    pair = Pair({"a": work("a")})
    pair.settle()
    assert heard(pair) == [pair.now], "its Hello was heard"
    pair.now += 10
    pair.agent.tick(pair.now)
    sent = pair.agent_sends()
    pair.now += 7
    for batch in sent:
        pair.hub_gets(batch)
    for answer in pair.hub_sends():
        pair.agent_gets(answer)
    assert heard(pair) == [pair.now - 7]


def test_a_session_in_sync_counts_from_its_hello() -> None:
    pair = Pair({"a": bounded("a")})
    opened = pair.now
    pair.now += 5
    pair.settle()
    assert heard(pair) == [opened]
    held = pair.desired.get("a")
    assert held is not None and held.stop_after_seconds == 30 and pair.desired.bounded == {"a": 30}


def test_an_answer_before_the_first_synced_proves_nothing() -> None:
    """What went to another cluster may not have been taken back here yet."""
    pair = Pair({"a": bounded("a")}, loaded=False)
    pair.settle()
    for _ in range(3):
        pair.now += 10
        pair.agent.tick(pair.now)
        pair.settle()
    assert heard(pair) == []


def test_how_long_is_part_of_what_a_work_says() -> None:
    assert work_hash([b"{}"], 0, False, 0) == work_hash([b"{}"], 0, False), "as before there was such a thing"
    assert work_hash([b"{}"], 0, False, 30) != work_hash([b"{}"], 0, False, 31)


# --- what it is made of --------------------------------------------------------------------------------------


def made(kind: str, api_version: str = "apps/v1", **spec: object) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        (made("Deployment", replicas=3), "replicas", 0),
        (made("Deployment"), "replicas", 0),
        (made("StatefulSet", replicas=3), "replicas", 0),
        (
            made("DaemonSet", template={"spec": {"nodeSelector": {"disk": "ssd"}, "containers": []}}),
            "template",
            {"spec": {"nodeSelector": {"disk": "ssd", "towline.io/nowhere": "true"}, "containers": []}},
        ),
        (made("Job", "batch/v1", parallelism=3), "suspend", True),
        (made("CronJob", "batch/v1", schedule="* * * * *"), "suspend", True),
    ],
    ids=["Deployment", "Deployment of one", "StatefulSet", "DaemonSet", "Job", "CronJob"],
)
def test_nothing_of_it_runs(body: Object, field: str, value: object) -> None:
    before = orjson.dumps(body)
    assert execution.stopped(body)["spec"][field] == value
    assert orjson.dumps(body) == before


def test_replicas_that_belong_to_the_member_are_stopped_too() -> None:
    body = made("Deployment", replicas=3)
    body["metadata"]["labels"] = {names.RETAIN_REPLICAS: "true"}
    assert not execution.needs_observed(execution.stopped(body))


def test_what_has_nothing_to_stop_stays() -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {}}
    assert execution.stopped(body) is body
