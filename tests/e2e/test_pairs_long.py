"""What else may happen to two hubs on one etcd: they die, sleep, vanish, lose their store and come back, while users write and members apply.
Takes minutes: TOWLINE_LONG=1 runs it. The truth is in the members, and in what etcd was asked to keep."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.harness import MEMBERS, condition, eventually
from tests.e2e.hubs import (
    CLUSTERS,
    MAPS,
    SPACE,
    TAKEOVER_SECONDS,
    Pair,
    Stream,
    everywhere,
    leader_of,
    running_pair,
)
from tests.e2e.objects import configmap

LONG = pytest.mark.skipif(not os.environ.get("TOWLINE_LONG"), reason="takes minutes: TOWLINE_LONG=1 runs it")
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), LONG]

GRACE_SECONDS = 10
REVOKED_SECONDS = 1.0
SPREAD_SECONDS = 60.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    flags = ("--cluster-monitor-grace-seconds", str(GRACE_SECONDS))
    with running_pair(tmp_path_factory.mktemp("pair") / "fleet", *flags, through_proxy=True) as pair:
        yield pair


@pytest.fixture(autouse=True)
def no_agent_is_taken_for_lost(pair: Pair) -> Iterator[None]:
    """No cluster's Ready turns, whatever happens to hubs; and both are well before and after each test."""
    for hub in "ab":
        pair.serves(hub)
    eventually(lambda: sum(map(pair.sessions, "ab")) == len(MEMBERS), 60, "all agents are somewhere")
    before = {name: turned(pair, name) for name in MEMBERS}
    yield
    assert {name: turned(pair, name) for name in MEMBERS} == before


def turned(pair: Pair, cluster: str) -> str:
    """When Ready turned last."""
    found = pair.api(leader_of(pair)[0]).get(f"{CLUSTERS}/{cluster}")
    assert found is not None and condition(found, "Ready") == "True"
    return next(str(c["lastTransitionTime"]) for c in found["status"]["conditions"] if c["type"] == "Ready")


def led_by(pair: Pair, hub: str) -> str:
    """Makes `hub` the leader; answers the other."""
    leader, _ = leader_of(pair)
    if leader != hub:
        pair.process(leader).stop()
        eventually(lambda: pair.leads(hub), TAKEOVER_SECONDS)
        pair.process(leader).start()
        pair.serves(leader)
    return "b" if hub == "a" else "a"


def test_the_other_is_killed_and_comes_back(pair: Pair) -> None:
    leader, other = leader_of(pair)
    with Stream(pair, "other", (leader,)) as stream:
        eventually(lambda: len(stream.acknowledged) > 10, 20)
        pair.process(other).kill()
        eventually(lambda: everywhere(pair, set(stream.acknowledged)), 20)
    eventually(lambda: everywhere(pair, stream.acknowledged), 20)
    assert pair.leads(leader)
    pair.process(other).start()
    pair.serves(other)


def test_a_leader_that_loses_its_store_does_not_lead_any_more(pair: Pair) -> None:
    leader, other = leader_of(pair)
    etcd = pair.fleet.processes["etcd"].running
    assert etcd is not None
    etcd.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: not pair.leads(leader) and not pair.leads(other), 10, "nobody leads")
        eventually(lambda: not any(map(pair.sessions, "ab")), 15, "agents look for a hub that has its store")
    finally:
        etcd.send_signal(signal.SIGCONT)
    leader_of(pair)
    eventually(lambda: pair.api(other).apply(f"{MAPS}/after", configmap("after", SPACE)), 10)
    eventually(lambda: everywhere(pair, {"after"}), 30)
    assert all(pair.ready(name, "a") and pair.ready(name, "b") for name in MEMBERS)


def test_a_leader_that_sleeps_for_longer_than_its_lease_writes_nothing_when_it_wakes(pair: Pair) -> None:
    leader, other = leader_of(pair)
    process = pair.process(leader).running
    assert process is not None
    with Stream(pair, "sleep", (other,)) as stream:
        eventually(lambda: len(stream.acknowledged) > 10, 20)
        process.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: pair.leads(other), TAKEOVER_SECONDS)
            eventually(
                lambda: pair.sessions(other) == len(MEMBERS), TAKEOVER_SECONDS, "agents do not wait for it"
            )
            eventually(lambda: everywhere(pair, set(stream.acknowledged)), 20)
        finally:
            process.send_signal(signal.SIGCONT)
        assert not pair.leads(leader)
        pair.serves(leader)
    eventually(lambda: everywhere(pair, stream.acknowledged), 20)
    assert pair.leads(other) and pair.bindings(leader) == pair.bindings(other)


@pytest.mark.parametrize("how", ["cut", "hang"])
def test_a_leader_that_is_cut_off_from_etcd_gives_way(pair: Pair, how: str) -> None:
    assert pair.proxy is not None
    other = led_by(pair, "b")
    with Stream(pair, how, (other,)) as stream:
        eventually(lambda: len(stream.acknowledged) > 10, 20)
        getattr(pair.proxy, how)()
        try:
            eventually(lambda: pair.leads(other) and not pair.leads("b"), TAKEOVER_SECONDS)
            eventually(
                lambda: pair.sessions(other) == len(MEMBERS), TAKEOVER_SECONDS, "its agents go to the other"
            )
            assert pair.api("b").request("GET", "/readyz", raw=True)[0] == 503
            eventually(lambda: everywhere(pair, set(stream.acknowledged)), 20)
        finally:
            pair.proxy.mend()
        pair.serves("b")
    eventually(lambda: everywhere(pair, stream.acknowledged), 20)
    assert pair.leads(other) and not pair.leads("b")
    eventually(lambda: pair.bindings("b") == pair.bindings(other), 10)


def test_etcd_is_killed_and_comes_back(pair: Pair) -> None:
    etcd = pair.fleet.processes["etcd"]
    with Stream(pair, "etcd", ("a", "b")) as stream:
        eventually(lambda: len(stream.acknowledged) > 10, 20)
        etcd.kill()
        time.sleep(5)
        etcd.start()
        before = len(stream.acknowledged)
        eventually(lambda: len(stream.acknowledged) > before + 10, 30)
    leader_of(pair)
    eventually(lambda: everywhere(pair, stream.acknowledged), 30)


def test_both_are_killed_and_come_back(pair: Pair) -> None:
    with Stream(pair, "both", ("a", "b")) as stream:
        eventually(lambda: len(stream.acknowledged) > 10, 20)
        for hub in "ab":
            pair.process(hub).kill()
        for hub in "ab":
            pair.process(hub).start()
        for hub in "ab":
            pair.serves(hub)
    leader_of(pair)
    eventually(lambda: everywhere(pair, stream.acknowledged), 30)


def test_agents_spread_again_when_a_killed_hub_is_back(pair: Pair) -> None:
    leader, other = leader_of(pair)
    pair.process(leader).kill()
    eventually(lambda: pair.sessions(other) == len(MEMBERS), TAKEOVER_SECONDS)
    pair.process(leader).start()
    pair.serves(leader)
    eventually(lambda: sorted(map(pair.sessions, "ab")) == [1, 2], SPREAD_SECONDS)
    pair.api(other).apply(f"{MAPS}/spread", configmap("spread", SPACE))
    eventually(lambda: everywhere(pair, {"spread"}), 10)


def test_a_revocation_at_one_ends_a_session_at_the_other(pair: Pair) -> None:
    """The last one: its member does not come back."""
    eventually(lambda: sorted(map(pair.sessions, "ab")) == [1, 2], SPREAD_SECONDS)
    rows = pair.api("a").request("GET", "/towline/v1/clusters")["items"]
    names = {hub: (pair.data[hub] / "hub-id").read_text().strip() for hub in "ab"}
    here = next(hub for hub in "ab" if pair.sessions(hub) == 1)
    cluster = next(row["name"] for row in rows if row["hub"] == names[here])
    pair.api("b" if here == "a" else "a").request("POST", "/towline/v1/revocations", {"name": cluster})
    eventually(lambda: pair.sessions(here) == 0, REVOKED_SECONDS)

    def shown(hub: str) -> bool:
        rows = pair.api(hub).request("GET", "/towline/v1/clusters")["items"]
        row = next(row for row in rows if row["name"] == cluster)
        return bool(row["revoked"] and not row["connected"])

    eventually(lambda: shown("a") and shown("b"), REVOKED_SECONDS, "both say so")
