"""Two hubs on one etcd: both serve, one leads. Kill one in the middle of a burst: the other goes on, nothing is lost, nothing done twice."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import (
    MEMBERS,
    TOWLINE,
    Api,
    ApiError,
    Fleet,
    Process,
    condition,
    eventually,
    free_port,
)
from tests.e2e.objects import configmap, namespace, policy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SPACE = "pair"
MAPS = f"/api/v1/namespaces/{SPACE}/configmaps"
BINDINGS = f"/apis/work.karmada.io/v1alpha2/namespaces/{SPACE}/resourcebindings"
CLUSTERS = "/apis/cluster.karmada.io/v1alpha1/clusters"
TAKEOVER_SECONDS = 15.0


class Pair:
    """A fleet whose hub is `a`, and a second hub `b` on the same etcd; member3 joined through `b`."""

    def __init__(self, folder: Path) -> None:
        self.fleet = Fleet(folder, store="etcd", members=MEMBERS[:2])
        self.data = {"a": self.fleet.hub_data, "b": folder / "hub-b"}
        self._apis: dict[str, Api] = {}

    def start(self) -> None:
        self.fleet.start()
        ports = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        store = f"etcd://{self.fleet.etcd_url.removeprefix('http://')}"
        self.fleet.spawn(
            "hub-b",
            [
                *TOWLINE, "hub", "--data-dir", str(self.data["b"]), "--store", store, "--api-address", ports[0],
                "--gateway-address", ports[1],
            ],
        )  # fmt: skip
        self.serves("b")
        self.fleet.start_member("member3")
        self.fleet.connect_member("member3")
        token = self.fleet.towline(
            "join", "member3", "--kubeconfig", str(self.data["b"] / "admin.kubeconfig"), "--token-only"
        ).stdout.strip()
        self.fleet.spawn(
            "agent-member3",
            [
                *TOWLINE, "agent", "--join-token", token, "--kubeconfig", str(self.fleet.folder / "member3/kubeconfig"),
                "--data-dir", str(self.fleet.folder / "agent-member3"),
            ],
        )  # fmt: skip
        eventually(lambda: all(self.ready(name, "a") and self.ready(name, "b") for name in MEMBERS), 60)

    def stop(self) -> None:
        self.fleet.stop()
        for api in self._apis.values():
            api.close()

    def process(self, hub: str) -> Process:
        return self.fleet.processes["hub" if hub == "a" else "hub-b"]

    def api(self, hub: str) -> Api:
        if hub not in self._apis:
            self._apis[hub] = Api(self.data[hub] / "admin.kubeconfig")
        return self._apis[hub]

    def serves(self, hub: str) -> None:
        def ready() -> bool:
            assert self.process(hub).alive(), self.process(hub).tail()
            return self.api(hub).request("GET", "/readyz", raw=True)[0] == 200

        eventually((self.data[hub] / "admin.kubeconfig").exists, 30)
        eventually(ready, 30, f"hub {hub} is ready")

    def leads(self, hub: str) -> bool:
        return b"towline_leads 1.0" in self.api(hub).request("GET", "/metrics", raw=True)[1]

    def sessions(self, hub: str) -> int:
        text = self.api(hub).request("GET", "/metrics", raw=True)[1].decode()
        return next(
            int(float(line.split()[1])) for line in text.splitlines() if line.startswith("towline_sessions ")
        )

    def ready(self, cluster: str, hub: str) -> bool:
        return condition(self.api(hub).get(f"{CLUSTERS}/{cluster}"), "Ready") == "True"

    def held(self, member: str) -> dict[str, tuple[str, str]]:
        """The ConfigMaps that a member got from us: their uid and revision there."""
        found = self.fleet.members[member].items(f"{MAPS}?labelSelector=karmada.io/managed=true")
        return {
            o["metadata"]["name"]: (o["metadata"]["uid"], o["metadata"]["resourceVersion"]) for o in found
        }

    def bindings(self, hub: str) -> dict[str, tuple[str, str]]:
        """By template, the uid and the revision of its spec; two for one template would be an error."""
        found = {}
        for binding in self.api(hub).items(BINDINGS):
            name = binding["spec"]["resource"]["name"]
            assert name not in found, f"two bindings of {name}"
            found[name] = binding["metadata"]["uid"], str(binding["metadata"]["generation"])
        return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    both = Pair(tmp_path_factory.mktemp("pair") / "fleet")
    try:
        both.start()
        both.fleet.apply(namespace(SPACE), policy("all", SPACE, None, "v1 ConfigMap"))
        yield both
    except BaseException:
        print(both.fleet.logs())
        raise
    finally:
        both.stop()


class Stream:
    """Applies ConfigMaps one after the other through the hubs in turn, until stopped; `acknowledged` are those that were answered."""

    def __init__(self, pair: Pair, prefix: str, hubs: tuple[str, ...]) -> None:
        self._apis = [Api(pair.data[hub] / "admin.kubeconfig") for hub in hubs]
        self._prefix = prefix
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged: set[str] = set()

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(60)
        for api in self._apis:
            api.close()

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(0.02):
            number += 1
            name = f"{self._prefix}-{number}"
            try:
                self._apis[number % len(self._apis)].apply(f"{MAPS}/{name}", configmap(name, SPACE))
            except (OSError, ApiError):
                continue
            self.acknowledged.add(name)


def everywhere(pair: Pair, names: set[str]) -> bool:
    return all(names <= pair.held(member).keys() for member in MEMBERS)


def leader_of(pair: Pair) -> tuple[str, str]:
    """Who leads, and the other."""
    found = eventually(lambda: [hub for hub in "ab" if pair.leads(hub)], 20, "somebody leads")
    assert len(found) == 1, "both lead"
    return found[0], "b" if found[0] == "a" else "a"


def test_both_serve_the_same_and_one_leads(pair: Pair) -> None:
    leader, other = leader_of(pair)
    watch = threading.Thread(target=lambda: seen.extend(watched(pair, other, "through-the-leader")))
    seen: list[str] = []
    watch.start()
    time.sleep(0.3)
    pair.api(leader).apply(f"{MAPS}/through-the-leader", configmap("through-the-leader", SPACE))
    watch.join(20)
    assert seen[:1] == ["ADDED"]
    pair.api(other).apply(f"{MAPS}/through-the-other", configmap("through-the-other", SPACE))
    eventually(lambda: everywhere(pair, {"through-the-leader", "through-the-other"}), 20)
    for hub in "ab":
        status = pair.api(hub).get(f"{BINDINGS}/through-the-other-configmap")

        def all_applied(hub: str = hub) -> bool:
            status = pair.api(hub).get(f"{BINDINGS}/through-the-other-configmap")["status"]  # type: ignore[index]
            return [e.get("applied") for e in status["aggregatedStatus"]] == [True] * 3

        eventually(all_applied, 20, f"hub {hub} shows reports of all members; {status}")
    works = {hub: pair.api(hub).items("/apis/work.karmada.io/v1alpha1/works") for hub in "ab"}
    assert [w["metadata"]["uid"] for w in works["a"]] == [w["metadata"]["uid"] for w in works["b"]]


def watched(pair: Pair, hub: str, name: str) -> list[str]:
    """The first event of a watch at `hub` for one object that is not there yet."""
    done = pair.fleet.kubectl(
        "get", "configmap", "-n", SPACE, "--field-selector", f"metadata.name={name}", "--watch",
        "--output-watch-events", "-o", "json", "--request-timeout", "2s",
        "--kubeconfig", str(pair.data[hub] / "admin.kubeconfig"), check=False,
    )  # fmt: skip
    decoder, found, text = json.JSONDecoder(), [], done.stdout.strip()
    while text:
        event, end = decoder.raw_decode(text)
        found.append(event["type"])
        text = text[end:].strip()
    return found


def test_a_token_of_one_hub_is_good_at_the_other(pair: Pair) -> None:
    leader, other = leader_of(pair)
    path = f"/api/v1/namespaces/{SPACE}/serviceaccounts"
    pair.api(leader).request("POST", path, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}})  # fmt: skip
    asked: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = pair.api(leader).request("POST", f"{path}/x/token", asked)["status"]["token"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    said = pair.api(other).request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]
    assert said.get("authenticated"), said


def test_the_leader_is_killed_in_the_middle_of_a_burst(pair: Pair) -> None:
    leader, other = leader_of(pair)
    with Stream(pair, "kill", (leader, other)) as stream:
        eventually(lambda: len(stream.acknowledged) > 40, 20)
        before = set(stream.acknowledged)
        eventually(lambda: everywhere(pair, before), 20)
        held = {member: pair.held(member) for member in MEMBERS}
        bindings = pair.bindings(other)
        pair.process(leader).kill()
        killed = time.monotonic()
        eventually(lambda: pair.leads(other), TAKEOVER_SECONDS, "the other hub leads")
        leads = time.monotonic()
        since = f"since-{leads}"
        pair.api(other).apply(f"{MAPS}/{since}", configmap(since, SPACE))
        eventually(lambda: everywhere(pair, {since}), TAKEOVER_SECONDS - (leads - killed), "it works")
        print(f"leads after {leads - killed:.1f} s, works after {time.monotonic() - killed:.1f} s")
    eventually(lambda: everywhere(pair, stream.acknowledged), 30, "nothing that was acknowledged is lost")
    for member in MEMBERS:
        after = pair.held(member)
        assert {name: after[name] for name in held[member]} == held[member], "applied again, or replaced"
    after_bindings = pair.bindings(other)
    assert {name: after_bindings[name] for name in bindings} == bindings
    assert all(pair.ready(name, other) for name in MEMBERS), "no agent was taken for lost"
    pair.process(leader).start()
    pair.serves(leader)
    assert pair.leads(other) and not pair.leads(leader), "who comes back does not take over"
    assert pair.bindings(leader) == pair.bindings(other)


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


def test_a_leader_that_stops_in_order_hands_over_at_once(pair: Pair) -> None:
    leader, other = leader_of(pair)
    with Stream(pair, "stop", (other,)) as stream:
        eventually(lambda: len(stream.acknowledged) > 10, 20)
        assert pair.process(leader).stop() == 0
        eventually(lambda: pair.leads(other), 2, "the other leads at once")
    eventually(lambda: everywhere(pair, stream.acknowledged), 20)
    assert all(pair.ready(name, other) for name in MEMBERS)
    pair.process(leader).start()
    pair.serves(leader)
