"""Two hubs on one etcd: both serve, one leads. Kill one in the middle of a burst: the other goes on, nothing is lost, nothing done twice.
What takes longer is in `test_pairs_long`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import MEMBERS, Api, condition, eventually
from tests.e2e.hubs import (
    BINDINGS,
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
from tests.e2e.objects import configmap, deployment, policy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(tmp_path_factory.mktemp("pair") / "fleet") as pair:
        yield pair


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
            status = (pair.api(hub).get(f"{BINDINGS}/through-the-other-configmap") or {})["status"]
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


def test_agents_of_the_hub_that_does_not_lead_are_asked_for_room(pair: Pair) -> None:
    """A node of one member there is fast, and none of the fleet is slow: no sum shows it."""
    leader, other = leader_of(pair)
    there, here = ((pair.data[hub] / "hub-id").read_text().strip() for hub in (other, leader))
    rows = pair.api(other).request("GET", "/towline/v1/clusters")["items"]
    member = next(row["name"] for row in rows if row["hub"] == there)

    def counted() -> bool:
        clusters = pair.api(other).items(CLUSTERS)
        return all(cluster["status"]["resourceSummary"]["allocatable"] for cluster in clusters)

    eventually(counted, 20, "agents have counted")
    pair.fleet.members[member].merge("/api/v1/nodes/node-1", {"metadata": {"labels": {"disk": "fast"}}})
    division = {"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Aggregated"}
    pair.fleet.apply(policy("web", SPACE, None, placement={"replicaScheduling": division}))

    def placed(disk: str) -> Any:
        web = deployment(disk, SPACE, replicas=5)
        web["spec"]["template"]["spec"]["nodeSelector"] = {"disk": disk}
        pair.fleet.apply(web)
        path = f"{BINDINGS}/{disk}-deployment"
        eventually(lambda: condition(pair.api(other).get(path), "Scheduled"), 10)
        return (pair.api(other).get(path) or {})["spec"].get("clusters")

    assert placed("fast") == [{"name": member, "replicas": 5}]
    assert not placed("slow")
    eventually(lambda: hub_users(pair, other), 10, "the audit log is written")
    assert hub_users(pair, other) == {f"system:towline:hub:{here}"}
    assert shown(pair, leader, other, "POST", "/towline/v1/questions", {"questions": []}) == 200
    for method, path in (("GET", "/api/v1/secrets"), ("GET", "/version"), ("POST", "/towline/v1/jointokens")):
        assert shown(pair, leader, other, method, path, {"name": "m9"}) == 403, "and is good for nothing else"
    # What waits for such a node goes there when that one becomes one.
    pair.fleet.members[member].merge("/api/v1/nodes/node-1", {"metadata": {"labels": {"disk": "slow"}}})
    path = f"{BINDINGS}/slow-deployment"
    moved = [{"name": member, "replicas": 5}]
    eventually(lambda: (pair.api(other).get(path) or {})["spec"].get("clusters") == moved, 15, "it is placed")


def hub_users(pair: Pair, hub: str) -> set[str]:
    """Who put questions to this hub."""
    lines = map(json.loads, (pair.data[hub] / "audit.log").read_text().splitlines())
    return {line["user"] for line in lines if line.get("path") == "/towline/v1/questions"}


def shown(pair: Pair, hub: str, other: str, method: str, path: str, body: Any) -> int:
    """The code that `other` answers to whoever shows what `hub` shows it."""
    api = Api(pair.data[other] / "admin.kubeconfig")
    api.tls.load_cert_chain(pair.data[hub] / "pki" / "client.pem")
    code, _ = api.request(method, path, body, raw=True)
    api.close()
    return int(code)


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


def test_a_leader_that_stops_in_order_hands_over_at_once(pair: Pair) -> None:
    leader, other = leader_of(pair)
    with Stream(pair, "stop", (other,)) as stream:
        eventually(lambda: len(stream.acknowledged) > 10, 20)
        assert pair.process(leader).stop() == 0
        eventually(lambda: pair.leads(other), 2, "the other leads at once")
    eventually(lambda: everywhere(pair, stream.acknowledged), 20)
    assert all(pair.ready(name, other) for name in MEMBERS)
