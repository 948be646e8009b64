"""Pods that find no node: whose they are, since when, and how many of how many."""

from __future__ import annotations

from typing import Any

import pytest

from towline.agent.capacity import Capacity
from towline.agent.waiting import Stuck, Waiting, Workload, unschedulable_since, workload_of

WEB, API = Workload("shop", "web"), Workload("shop", "api")
AT = 1_767_225_600.0
STAMP = "2026-01-01T00:00:00Z"


def pod(
    uid: str = "p1", owner: str = "web-7d9", hashed: str | None = "7d9", node: str = "", **condition: Any
) -> Any:
    labels = {"pod-template-hash": hashed} if hashed is not None else {}
    owners = [{"kind": "ReplicaSet", "name": owner}] if owner else []
    waits = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "lastTransitionTime": STAMP,
    }
    metadata = {"uid": uid, "name": uid, "namespace": "shop", "labels": labels, "ownerReferences": owners}
    conditions = [] if node else [{**waits, **condition}]
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("given", "workload"),
    [
        (pod(), WEB),
        (pod(owner="a-b-7d9"), Workload("shop", "a-b")),
        (pod(hashed=None), None),
        (pod(owner="web-other"), None),
        (pod(owner=""), None),
        ({**pod(), "metadata": {**pod()["metadata"], "ownerReferences": [{"kind": "Job", "name": "web-7d9"}]}}, None),
    ],
    ids=["a Deployment's", "a name with dashes", "no hash", "a ReplicaSet of its own", "of nobody", "of a Job"],
)  # fmt: skip
def test_whose_a_pod_is(given: Any, workload: Workload | None) -> None:
    assert workload_of(given) == workload


@pytest.mark.parametrize(
    ("condition", "since"),
    [
        ({}, AT),
        ({"reason": "SchedulingGated"}, 0.0),
        ({"status": "True"}, 0.0),
        ({"type": "Ready"}, 0.0),
        ({"lastTransitionTime": None}, 0.0),
    ],
    ids=["unschedulable", "gated", "scheduled", "another condition", "no time"],
)
def test_since_when_a_pod_waits(condition: dict[str, Any], since: float) -> None:
    assert unschedulable_since(pod(**condition)) == since


def test_only_what_has_waited_long_enough_counts() -> None:
    waiting = Waiting()
    for since, times in ((0.0, 3), (AT, 1), (AT + 100, 2)):
        waiting.count(WEB, since, times)
    waiting.count(API, AT + 100, 1)
    assert list(waiting.stuck(300, AT + 299)) == []
    assert waiting.next_in(300, AT + 299) == 1
    assert list(waiting.stuck(300, AT + 300)) == [Stuck(WEB, 6, 1)]
    assert waiting.next_in(300, AT + 300) == 100
    assert list(waiting.stuck(300, AT + 400)) == [Stuck(API, 1, 1), Stuck(WEB, 6, 3)]
    assert waiting.next_in(300, AT + 400) is None


def test_a_pod_that_found_a_node_or_went_counts_no_more() -> None:
    capacity = Capacity()
    for uid in ("p1", "p2", "p3"):
        capacity.put_pod(pod(uid))
    capacity.put_pod(pod("p4", node="n1"))
    assert list(capacity.waiting.stuck(0, AT)) == [Stuck(WEB, 4, 3)]
    capacity.put_pod(pod("p1", node="n1"))
    capacity.remove_pod("p2")
    assert list(capacity.waiting.stuck(0, AT)) == [Stuck(WEB, 3, 1)]
    capacity.keep_pods(set())
    assert list(capacity.waiting.stuck(0, AT)) == []
    assert (capacity.waiting._pods, capacity.waiting._since) == ({}, {})
