"""Follows the member's nodes, pods and quotas and tells what room there is: a list in pages, then a watch, for each of them.

Of what streams by only the fields that are counted are parsed, and only what `Capacity` counts is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypedDict, TypeVar

import msgspec

from towline.agent.capacity import Capacity, quota_key
from towline.agent.kubernetes import Member, MemberUnreachable, Refused
from towline.agent.listwatch import Expired, Pauses, pages, watching
from towline.agent.waiting import Workload
from towline.kube.amounts import PODS, Amounts
from towline.kube.grades import Grade, Scale
from towline.kube.objects import Object, name_of, uid_of
from towline.proto import fleet_pb2 as fleet

log = logging.getLogger("towline.agent.census")

TELL_SECONDS = 3.0
"""The least time from one word to the hub to the next."""
_BACKOFF_SECONDS = (0.5, 60.0)
_FAILURES_MAX = 16
_RESOURCES_MAX = 256
_STUCK_MAX = 1_000
_INT64_MAX = 2**63 - 1


class Census:
    """`say(frame)` is called when both nodes and pods were counted and `settings` has been called, and with every change
    from then on, at most every `seconds`. `ours(workload)`: whether the hub may hear of it; `now` is epoch seconds."""

    def __init__(
        self, member: Member, capacity: Capacity, say: Callable[[fleet.Capacity], None], jitter: Callable[[], float],
        seconds: float = TELL_SECONDS, *, ours: Callable[[Workload], bool], now: Callable[[], float],
    ) -> None:  # fmt: skip
        self._member = member
        self._capacity = capacity
        self._say = say
        self._jitter = jitter
        self._seconds = seconds
        self._ours = ours
        self._now = now
        self._unschedulable_seconds = 0
        self._looked_at = 0.0
        """When it was last looked which pods are stuck."""
        self._scale: Scale | None = None
        self._said: fleet.Capacity | None = None
        self._news = asyncio.Event()
        self._pauses = Pauses()
        self._collections = (
            _Collection("nodes", _Node, name_of, capacity.put_node, capacity.remove_node, capacity.keep_nodes),
            _Collection(
                "pods", _Pod, uid_of, capacity.put_pod, capacity.remove_pod, capacity.keep_pods,
                # Pods that have ended hold nothing, and Jobs leave many of them.
                {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"},
            ),
        )  # fmt: skip
        self._quotas = _Collection(
            "resourcequotas", _Quota, quota_key, capacity.put_quota, capacity.remove_quota, capacity.keep_quotas
        )  # fmt: skip

    @property
    def complete(self) -> bool:
        """Whether `capacity` has been told of every node and pod."""
        return all(collection.complete for collection in self._collections)

    @property
    def estimates(self) -> bool:
        """Whether room can be estimated. An agent that may not read quotas does without them."""
        return self.complete and (self._quotas.complete or bool(self._quotas.said))

    def settings(self, settings: fleet.Settings) -> None:
        """How the hub wants nodes graded, and which pods count as stuck."""
        self._unschedulable_seconds = settings.unschedulable_seconds
        self._scale = Scale(tuple(Grade(row.grade, dict(row.least)) for row in settings.grades))
        self._news.set()

    def resume(self) -> None:
        """The API server answers again: watches that wait for it do not wait any longer."""
        self._pauses.resume()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for collection in (*self._collections, self._quotas):
                group.create_task(self._follow(collection), name=f"count {collection.plural}")
            await self._tell()

    async def _tell(self) -> None:
        while True:
            await self._news_or_time()
            self._news.clear()
            if self._scale is None or not self.complete:
                continue
            frame = _frame_of(self._capacity, self._scale)
            frame.stuck.extend(self._stuck())
            if frame != self._said:
                self._said = frame
                self._say(frame)
            await asyncio.sleep(self._seconds)

    async def _news_or_time(self) -> None:
        """Until something changed, or a pod has waited for so long that it counts."""
        seconds = self._unschedulable_seconds
        wait_seconds = self._capacity.waiting.next_in(seconds, self._looked_at) if seconds else None
        if wait_seconds is not None:  # from when it was looked: more may have come of age since
            wait_seconds = max(0.0, self._looked_at + wait_seconds - self._now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                await self._news.wait()

    def _stuck(self) -> list[fleet.Stuck]:
        seconds = self._unschedulable_seconds
        self._looked_at = self._now()
        found = self._capacity.waiting.stuck(seconds, self._looked_at) if seconds else iter(())
        ours = (row for row in found if self._ours(row.workload))
        return [
            fleet.Stuck(
                namespace=row.workload.namespace, name=row.workload.name, pods=row.pods, unschedulable=row.unschedulable
            )
            for row in islice(ours, _STUCK_MAX)
        ]  # fmt: skip

    async def _follow(self, collection: _Collection) -> None:
        """List, then watch, for ever. However a watch ends there is a pause, and it grows while none tells anything."""
        while True:
            try:
                if not collection.version:
                    await self._list(collection)
                await self._watch(collection)
            except Expired:
                collection.version = ""
            except MemberUnreachable as error:
                log.debug("the watch of %s ended: %s", collection.plural, error)
            except (Refused, msgspec.DecodeError) as error:
                collection.version = ""
                self._complain(collection, error)
            first, longest = _BACKOFF_SECONDS
            pause = min(longest, first * 2**collection.failures)
            collection.failures = min(collection.failures + 1, _FAILURES_MAX)
            if await self._pauses.wait(pause * (0.5 + self._jitter() / 2)):
                collection.failures = 0

    def _complain(self, collection: _Collection, error: Exception) -> None:
        """Once for each reason: it is tried again and again."""
        if str(error) == collection.said:
            return
        collection.said = str(error)
        loss = "the hub will not know what room this cluster has"
        if collection is self._quotas:
            loss = "estimates go without them"
        log.warning("%s cannot be counted: %s; %s", collection.plural, collection.said, loss)

    async def _list(self, collection: _Collection) -> None:
        async def fetch(query: Mapping[str, str]) -> tuple[_Page[Any], str]:
            page = collection.pages.decode((await self._member.call("GET", collection.path, query)).body)
            return page, page.metadata.continue_

        listed: set[str] = set()
        version = ""
        async for page in pages(fetch, collection.selector):
            for item in page.items or ():
                listed.add(collection.key(item))
                collection.put(item)
            version = page.metadata.resource_version
        collection.keep(listed)
        collection.version = version
        collection.complete = True
        collection.said = ""
        self._news.set()

    async def _watch(self, collection: _Collection) -> None:
        watch = watching(
            self._member, collection.path, collection.selector, collection.version, self._jitter()
        )
        async with watch as lines:
            while line := await lines.readline():
                before = self._capacity.changes
                collection.take(line)
                collection.failures = 0
                if self._capacity.changes != before:
                    self._news.set()


def _frame_of(capacity: Capacity, scale: Scale) -> fleet.Capacity:
    summary = capacity.summary()
    offered = summary.allocatable
    return fleet.Capacity(
        nodes=summary.nodes,
        ready_nodes=summary.ready_nodes,
        allocatable=_bounded(summary.allocatable, offered),
        allocating=_bounded(summary.allocating, offered),
        allocated=_bounded(summary.allocated, offered),
        graded=[
            fleet.Graded(grade=grade.grade, nodes=count)
            for grade, count in zip(scale.grades, capacity.graded(scale), strict=True)
        ],
        openings=capacity.openings % (1 << 32),
    )


def _bounded(amounts: Amounts, offered: Amounts) -> Amounts:
    """As much as the frame may say, what nodes have first: what pods request is anybody's choice."""
    names = sorted(amounts, key=lambda name: (name != PODS, name not in offered, name))
    return {name: min(amounts[name], _INT64_MAX) for name in names[:_RESOURCES_MAX]}


# --- what is parsed --------------------------------------------------------------------------------------------

Quantities = dict[str, str | int | float]


class _OwnerReference(TypedDict, total=False):
    kind: str
    name: str


class _Metadata(TypedDict, total=False):
    name: str
    namespace: str
    uid: str
    resourceVersion: str
    labels: dict[str, str]
    ownerReferences: list[_OwnerReference] | None


class _Taint(TypedDict, total=False):
    key: str
    value: str
    effect: str


class _NodeSpec(TypedDict, total=False):
    taints: list[_Taint] | None
    unschedulable: bool


class _Condition(TypedDict, total=False):
    type: str
    status: str
    reason: str
    lastTransitionTime: str | None


class _NodeStatus(TypedDict, total=False):
    allocatable: Quantities
    conditions: list[_Condition] | None


class _Node(TypedDict, total=False):
    metadata: _Metadata
    spec: _NodeSpec
    status: _NodeStatus


class _Resources(TypedDict, total=False):
    requests: Quantities
    limits: Quantities


class _Container(TypedDict, total=False):
    resources: _Resources
    restartPolicy: str


class _PodSpec(TypedDict, total=False):
    nodeName: str
    containers: list[_Container] | None
    initContainers: list[_Container] | None
    resources: _Resources
    overhead: Quantities


class _ScopeRow(TypedDict, total=False):
    scopeName: str
    operator: str
    values: list[str] | None


class _ScopeSelector(TypedDict, total=False):
    matchExpressions: list[_ScopeRow] | None


class _QuotaSpec(TypedDict, total=False):
    hard: Quantities
    scopes: list[str] | None
    scopeSelector: _ScopeSelector | None


class _QuotaStatus(TypedDict, total=False):
    hard: Quantities
    used: Quantities


class _Quota(TypedDict, total=False):
    metadata: _Metadata
    spec: _QuotaSpec
    status: _QuotaStatus


class _PodStatus(TypedDict, total=False):
    phase: str
    conditions: list[_Condition] | None


class _Pod(TypedDict, total=False):
    metadata: _Metadata
    spec: _PodSpec
    status: _PodStatus


Item = TypeVar("Item")


class _ListMetadata(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct, Generic[Item]):
    metadata: _ListMetadata
    items: list[Item] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Failure(msgspec.Struct):
    code: int = 500
    reason: str = ""
    message: str = ""


_EVENTS = msgspec.json.Decoder(_Event)
_FAILURES = msgspec.json.Decoder(_Failure)


@dataclass(slots=True)
class _Collection:
    """One list and watch, and where its objects are counted."""

    plural: str
    item: Any
    key: Callable[[Object], str]
    put: Callable[[Object], None]
    remove: Callable[[str], None]
    keep: Callable[[Set[str]], None]
    selector: dict[str, str] = field(default_factory=dict)
    version: str = ""
    complete: bool = False
    failures: int = 0
    said: str = ""
    pages: msgspec.json.Decoder[Any] = field(init=False)
    items: msgspec.json.Decoder[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.pages = msgspec.json.Decoder(_Page[self.item])  # type: ignore[name-defined]
        self.items = msgspec.json.Decoder(self.item)

    @property
    def path(self) -> str:
        return f"/api/v1/{self.plural}"

    def take(self, line: bytes) -> None:
        """Count one line of the watch. Raises Expired, Refused and msgspec.DecodeError."""
        event = _EVENTS.decode(line)
        if event.type == "ERROR":
            failure = _FAILURES.decode(event.object)
            if failure.code == 410:
                raise Expired
            raise Refused(failure.code, failure.reason, failure.message)
        obj = self.items.decode(event.object)
        if event.type in ("ADDED", "MODIFIED"):
            self.put(obj)
        elif event.type == "DELETED":
            self.remove(self.key(obj))
        self.version = str(obj.get("metadata", {}).get("resourceVersion") or self.version)
