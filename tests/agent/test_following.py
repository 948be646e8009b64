"""However lists and watches go and end, what the census has counted is what there is in the member."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from tests.agent.member import SECONDS
from tests.agent.test_capacity import SCALE, counted, node, pod
from tests.cases import cases
from towline.agent.capacity import Capacity
from towline.agent.census import Census
from towline.agent.kubernetes import Answer, MemberUnreachable, Refused
from towline.kube.objects import Object, uid_of

PAGE = 2
ENDED = ("Succeeded", "Failed")


@dataclass
class Served:
    """One resource as an API server has it: `objects` by name, and what happened since the revision `floor`."""

    selects: bool
    """Whether objects that have ended are left out."""
    phases: list[tuple[list[tuple[str, Object | None]], str]]
    """What changes while each watch is open, and how that ends."""
    objects: dict[str, Object] = field(default_factory=dict)
    revision: int = 1
    floor: int = 1
    events: list[tuple[int, str, Object]] = field(default_factory=list)
    pages: dict[str, tuple[int, list[Object]]] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, name: str, obj: Object | None) -> None:
        """`obj` is what is there under the name now; None: nothing."""
        before = self.objects.get(name)
        if obj is None and before is None:
            return
        if obj is not None and before is not None and uid_of(obj) != uid_of(before):
            self.put(name, None)  # another object of that name is a deletion and a creation
            before = None
        self.revision += 1
        last = obj or before
        assert last is not None
        stamped = {**last, "metadata": {**last["metadata"], "resourceVersion": str(self.revision)}}
        was, is_ = self._shows(before), self._shows(obj)
        if was or is_:
            type_ = ("ADDED" if not was else "MODIFIED") if is_ else "DELETED"
            self.events.append((self.revision, type_, stamped))
        self.objects.pop(name, None)
        if obj is not None:
            self.objects[name] = stamped

    def _shows(self, obj: Object | None) -> bool:
        return obj is not None and not (self.selects and obj["status"].get("phase") in ENDED)

    def shown(self) -> list[Object]:
        return [obj for obj in self.objects.values() if self._shows(obj)]

    def list(self, query: Mapping[str, str]) -> Answer:
        revision, left = self.pages.pop(query.get("continue", ""), (self.revision, self.shown()))
        more = str(len(left)) if len(left) > PAGE else ""
        if more:
            self.pages[more] = revision, left[PAGE:]
        metadata = {"resourceVersion": str(revision), "continue": more}
        return Answer(200, orjson.dumps({"metadata": metadata, "items": left[:PAGE]}), {})

    async def watch(self, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        changes, end = self.phases.pop(0) if self.phases else ([], "")
        version = int(query["resourceVersion"])
        for name, obj in changes:
            self.put(name, obj)
        if end == "expired":
            self.floor = self.revision
        if version < self.floor:
            raise Refused(410, "Expired", "too old")
        for revision, type_, obj in self.events:
            if revision > version:
                yield orjson.dumps({"type": type_, "object": obj}) + b"\n"
        if end == "cut off":
            raise MemberUnreachable("cut off")
        if not end:
            self.over.set()
            await asyncio.Event().wait()


class Member:
    def __init__(self, **served: Served) -> None:
        self.served = {f"/api/v1/{plural}": each for plural, each in served.items()}

    async def call(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        return self.served[path].list(query)

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, silence_seconds: float
    ) -> AsyncIterator[Any]:
        lines = self.served[path].watch(query)

        class Lines:
            async def readline(self) -> bytes:
                return await anext(lines, b"")

        yield Lines()


NODES, PODS = ("n1", "n2", "n3"), ("p1", "p2", "p3", "p4", "p5")
some_node = st.builds(
    lambda ready, cordoned, cpu: {"ready": ready, "unschedulable": cordoned, "allocatable": {"cpu": cpu}},
    st.booleans(), st.booleans(), st.sampled_from(["0", "2", "4"]),
)  # fmt: skip
node_changes = st.builds(
    lambda name, state: (name, node(name, **state) if state is not None else None),
    st.sampled_from(NODES), st.none() | some_node,
)  # fmt: skip
pod_changes = st.builds(
    lambda name, on, phase, life, cpu: (
        name,
        pod(f"{name}-{life}", on, phase, {"resources": {"requests": {"cpu": cpu}}}) if phase else None,
    ),
    st.sampled_from(PODS), st.sampled_from([*NODES, ""]), st.sampled_from(["", "Pending", "Running", *ENDED]),
    st.integers(1, 2), st.sampled_from(["1", "250m"]),
)  # fmt: skip
ends = st.sampled_from(["ended", "cut off", "expired"])


def phases(changes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(st.lists(changes, max_size=6), ends), max_size=6)


@cases(150)
@given(phases(node_changes), phases(pod_changes))
@example([([("n1", node("n1"))], "ended")], [([("p1", pod("p1")), ("p1", None)], "expired")])
@example([([("n1", node("n1", ready=False)), ("n1", node("n1"))], "cut off")], [([("p1", pod("p1")), ("p1", pod("p1", phase="Failed"))], "ended")])  # fmt: skip
def test_whatever_happens_in_between_the_census_counts_what_there_is(
    of_nodes: list[Any], of_pods: list[Any]
) -> None:
    with patch("towline.agent.census._BACKOFF_SECONDS", (0.0, 0.0)):
        asyncio.run(_follow(of_nodes, of_pods))


async def _follow(of_nodes: list[Any], of_pods: list[Any]) -> None:
    nodes, pods, quotas = Served(False, list(of_nodes)), Served(True, list(of_pods)), Served(False, [])
    capacity = Capacity()
    census = Census(
        Member(nodes=nodes, pods=pods, resourcequotas=quotas), capacity, lambda frame: None, lambda: 0.0,  # type: ignore[arg-type]
        ours=lambda workload: False, now=lambda: 0.0,
    )  # fmt: skip
    task = asyncio.create_task(census.run())
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(each.over.wait() for each in (nodes, pods, quotas)))
    task.cancel()
    await asyncio.wait((task,))
    there = counted(*nodes.objects.values(), *pods.shown())
    assert capacity.summary() == there.summary()
    assert capacity.nodes == there.nodes
    assert capacity.graded(SCALE) == there.graded(SCALE)
