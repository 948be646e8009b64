"""The census against a scripted member: pages, watches, expiry, refusals; and when it says what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from tests.agent.member import SECONDS
from tests.agent.test_capacity import node, pod
from tests.agent.test_waiting import AT
from tests.agent.test_waiting import pod as stuck_pod
from towline.agent.capacity import Capacity
from towline.agent.census import Census
from towline.agent.kubernetes import Answer, MemberUnreachable, Refused
from towline.kube.amounts import PODS
from towline.proto import fleet_pb2 as fleet

NODES, PODS_PATH, QUOTAS = "/api/v1/nodes", "/api/v1/pods", "/api/v1/resourcequotas"
SETTINGS = fleet.Settings(
    grades=[fleet.Grade(grade=0, least={"cpu": 0}), fleet.Grade(grade=4, least={"cpu": 4000})]
)
EXPIRED = {
    "type": "ERROR",
    "object": {"kind": "Status", "status": "Failure", "code": 410, "message": "too old"},
}


def page(version: int, *objects: Any, more: str = "") -> dict[str, Any]:
    return {
        "kind": "List",
        "metadata": {"resourceVersion": str(version), "continue": more},
        "items": list(objects),
    }


def event(type_: str, obj: dict[str, Any], version: int = 0) -> dict[str, Any]:
    metadata = {**obj.get("metadata", {}), "resourceVersion": str(version)}
    return {"type": type_, "object": {**obj, "metadata": metadata}}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.agent.census._BACKOFF_SECONDS", (0.001, 0.001))


class Script:
    """A member that answers lists and watches by path; when a script is over, the last watch stays open."""

    def __init__(self, lists: dict[str, list[Any]], watches: dict[str, list[Any]] | None = None) -> None:
        self.lists = lists
        self.watches = watches or {}
        self.queries: list[tuple[str, dict[str, str]]] = []
        self.over = {path: asyncio.Event() for path in (NODES, PODS_PATH, QUOTAS)}

    async def call(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        self.queries.append((path, dict(query)))
        answers = self.lists.setdefault(path, [page(1)])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            self.over[path].set()
            raise answer
        return Answer(200, orjson.dumps(answer), {})

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, silence_seconds: float
    ) -> AsyncIterator[Any]:
        self.queries.append((path, dict(query)))
        watches = self.watches.get(path)
        if not watches:
            self.over[path].set()
            await asyncio.Event().wait()
        assert watches is not None
        script = watches.pop(0)
        if isinstance(script, Exception):
            raise script
        reader = asyncio.StreamReader()
        reader.feed_data(
            b"".join(line if isinstance(line, bytes) else orjson.dumps(line) + b"\n" for line in script)
        )
        reader.feed_eof()
        yield reader


class Counted:
    def __init__(self, script: Script) -> None:
        self.capacity = Capacity()
        self.said: list[fleet.Capacity] = []
        self.now = 0.0
        self.census = Census(
            script, self.capacity, self.said.append, lambda: 0.0, seconds=0.0,  # type: ignore[arg-type]
            ours=lambda workload: workload.namespace != "theirs", now=lambda: self.now,
        )  # fmt: skip

    async def heard(self, count: int) -> fleet.Capacity:
        async with asyncio.timeout(SECONDS):
            while len(self.said) < count:
                await asyncio.sleep(0)
        return self.said[-1]


@asynccontextmanager
async def counting(script: Script, *, settings: fleet.Settings | None = SETTINGS) -> AsyncIterator[Counted]:
    """A census that has worked through the script."""
    counted = Counted(script)
    if settings is not None:
        counted.census.settings(settings)
    task = asyncio.create_task(counted.census.run())
    try:
        async with asyncio.timeout(SECONDS):
            for over in script.over.values():
                await over.wait()
        await asyncio.sleep(0.01)
        yield counted
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_it_lists_in_pages_and_says_the_whole() -> None:
    script = Script(
        {
            NODES: [page(5, node(), more="next"), page(5, node("n2"))],
            PODS_PATH: [page(7, pod(), pod("p2", ""))],
        }
    )
    async with counting(script) as counted:
        said = await counted.heard(1)
        assert (said.nodes, said.ready_nodes) == (2, 2)
        assert dict(said.allocatable) == {"cpu": 8000, "memory": 16 << 30, "pods": 6}
        assert dict(said.allocated) == {"cpu": 1000, "pods": 1}
        assert dict(said.allocating) == {"cpu": 1000, "pods": 1}
        assert [(row.grade, row.nodes) for row in said.graded] == [(0, 1), (4, 1)]
    asked = [query for path, query in script.queries if path == NODES]
    assert [query.get("continue") for query in asked] == [None, "next", None]
    assert asked[0]["limit"] == "500" and asked[2]["resourceVersion"] == "5"
    ended = {query["fieldSelector"] for path, query in script.queries if path == PODS_PATH}
    assert ended == {"status.phase!=Succeeded,status.phase!=Failed"}, "what has ended never travels"


async def test_it_follows_the_watch_from_where_the_list_ended() -> None:
    script = Script(
        {NODES: [page(5, node())], PODS_PATH: [page(7, pod())]},
        {
            PODS_PATH: [
                [event("ADDED", pod("p2"), 8), event("DELETED", pod(), 9), event("BOOKMARK", {}, 20)],
                [event("MODIFIED", pod("p2", "n1", "Running", {"resources": {"requests": {"cpu": 3}}}), 21)],
            ]
        },
    )
    async with counting(script) as counted:
        assert counted.capacity.summary().allocated == {"cpu": 3000, "pods": 1}
    versions = [
        query["resourceVersion"] for path, query in script.queries if path == PODS_PATH and "watch" in query
    ]
    assert versions == ["7", "20", "21"], "a bookmark moves it on"


@pytest.mark.parametrize(
    "expiry", [Refused(410, "Expired", "too old"), [EXPIRED]], ids=["as an answer", "as an event"]
)
async def test_expired_it_lists_again_and_forgets_what_went_missing(expiry: Any) -> None:
    script = Script(
        {NODES: [page(5, node())], PODS_PATH: [page(7, pod(), pod("p2")), page(30, pod("p2"))]},
        {PODS_PATH: [expiry]},
    )
    async with counting(script) as counted:
        assert counted.capacity.summary().allocated == {"cpu": 1000, "pods": 1}


@pytest.mark.parametrize(
    "trouble",
    [MemberUnreachable("cut off"), [b'{"type": "ADD'], [{"type": "ADDED", "object": {"metadata": "?"}}]],
    ids=["cut off", "half a line", "not a pod"],
)
async def test_trouble_makes_nothing_absent(trouble: Any) -> None:
    script = Script({NODES: [page(5, node())], PODS_PATH: [page(7, pod())]}, {PODS_PATH: [trouble]})
    async with counting(script) as counted:
        assert len(counted.said) == 1 and counted.said[0].allocated["pods"] == 1


async def test_a_member_that_answers_again_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.agent.census._BACKOFF_SECONDS", (3600.0, 3600.0))
    script = Script(
        {},
        {
            NODES: [
                MemberUnreachable("down"),
                MemberUnreachable("down"),
                [event("ADDED", {"metadata": {"name": "n"}})],
            ]
        },
    )
    census = Counted(script).census
    task = asyncio.create_task(census.run())
    try:
        async with asyncio.timeout(SECONDS):
            for left in (2, 1, 0):
                while len(script.watches[NODES]) > left:
                    await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert len(script.watches[NODES]) == left, "it waits"
                census.resume()
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_an_agent_that_may_not_read_pods_says_so_once_and_counts_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = Refused(403, "Forbidden", "pods is forbidden: no list")
    script = Script({NODES: [page(5, node())], PODS_PATH: [refused]})
    with caplog.at_level(logging.WARNING, "towline.agent.census"):
        async with counting(script) as counted:
            while len(script.queries) < 6:
                await asyncio.sleep(0.001)
            assert counted.said == [] and not counted.census.complete
            [record] = caplog.records
            assert "pods cannot be counted: pods is forbidden" in record.message
            script.lists[PODS_PATH] = [page(9)]
            assert (await counted.heard(1)).nodes == 1, "it heals when it may"


async def test_pods_that_find_no_node_count_when_their_time_has_come() -> None:
    """No event tells of that: nothing changes in the member while time passes."""
    script = Script({NODES: [page(5, node())], PODS_PATH: [page(7, waiting("a"), waiting("b", "theirs"))]})
    async with counting(script, settings=None) as counted:
        counted.now = AT + 299.95
        counted.census.settings(fleet.Settings(unschedulable_seconds=300))
        assert not (await counted.heard(1)).stuck
        counted.now = AT + 300
        (stuck,) = (await counted.heard(2)).stuck
        assert (stuck.namespace, stuck.name, stuck.pods, stuck.unschedulable) == ("shop", "web", 1, 1)


def waiting(uid: str, namespace: str = "shop") -> dict[str, Any]:
    found: dict[str, Any] = stuck_pod(uid)
    found["metadata"]["namespace"] = namespace
    return found


async def test_nothing_is_said_before_the_hub_said_how() -> None:
    script = Script({NODES: [page(5, node())], PODS_PATH: [page(7)]})
    async with counting(script, settings=None) as counted:
        assert counted.said == []
        counted.census.settings(fleet.Settings())
        assert not (await counted.heard(1)).graded
        counted.census.settings(SETTINGS)
        assert [row.nodes for row in (await counted.heard(2)).graded] == [0, 1]
        counted.census.settings(SETTINGS)
        await asyncio.sleep(0.01)
        assert len(counted.said) == 2, "what is no news is not said"


async def test_a_flood_of_resource_names_does_not_fill_the_frame() -> None:
    odd = [
        pod(f"q{i}", "", "Pending", {"resources": {"requests": {f"a.io/x{i:03}": "9E"}}}) for i in range(300)
    ]
    script = Script({NODES: [page(5, node())], PODS_PATH: [page(7, *odd, pod("p", ""))]})
    async with counting(script) as counted:
        allocating = (await counted.heard(1)).allocating
        assert len(allocating) == 256 and allocating[PODS] == 301 and allocating["cpu"] == 1000
        assert allocating["a.io/x000"] == 9 * 10**18
