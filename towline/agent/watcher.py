"""Watches what the agent applied: one list and watch for each kind, by the label karmada.io/managed=true; or one for each kind and
namespace, where the agent may not look further.

Of an object only a `Record` is kept: who it is, which fields of it are ours, and its status as it travels. Objects
that are not labelled are never seen here, so that an object without a record is not known to be absent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

from towline.agent.desired import Ref
from towline.agent.execution import Seen, see
from towline.agent.kubernetes import Discovery, Member, MemberUnreachable, Refused, Resource
from towline.agent.listwatch import Expired, Pauses, pages, watching
from towline.kube import interpreter, names
from towline.kube.objects import Object, name_of, namespace_of

log = logging.getLogger("towline.agent.watcher")

_SELECTOR = f"{names.MANAGED}=true"
_BACKOFF_SECONDS = (0.1, 30.0)
_NAMESPACE = ("v1", "Namespace")


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a member's object."""

    seen: Seen
    status: bytes
    """As reflected in the member (canonical JSON); b"" for none."""
    health: str

    @property
    def version(self) -> int:
        return _version(self.seen.resource_version)


class _Place(NamedTuple):
    """What one watch is of; `namespace` is empty for all of them. A Namespace counts as lying in itself."""

    api_version: str
    kind: str
    namespace: str


class Listener(Protocol):
    """Who is told, synchronously and in the order of the watch."""

    def object_changed(self, ref: Ref, record: Record | None) -> None:
        """A newer state than before; None: it is gone, or no longer labelled as managed."""

    def kind_synced(self, api_version: str, kind: str) -> None:
        """The records of this kind are complete (again)."""


def record_of(obj: Object) -> Record:
    """`obj` reduced; its status and health are interpreted here, in the member."""
    try:
        status = interpreter.reflect_status(obj)
    except (AttributeError, TypeError, ValueError, KeyError):
        status = None  # an object of a shape that its kind does not have
    encoded = b"" if status is None else orjson.dumps(status, option=orjson.OPT_SORT_KEYS)
    return Record(see(obj), encoded, interpreter.health(obj))


class Watcher:
    """The watches of one agent. `jitter()` gives 0..1; tasks live in `group`. `by_namespace`: nothing may be listed in all
    namespaces at once."""

    def __init__(
        self,
        member: Member,
        discovery: Discovery,
        listener: Listener,
        group: asyncio.TaskGroup,
        jitter: Callable[[], float],
        by_namespace: bool = False,
    ) -> None:
        self._member = member
        self._discovery = discovery
        self._listener = listener
        self._group = group
        self._jitter = jitter
        self._by_namespace = by_namespace
        self._watches: dict[_Place, _Watch] = {}
        self._pauses = Pauses()

    def need(self, ref: Ref) -> None:
        """Watch objects like this one from now on; cheap to say again."""
        place = self._place(ref)
        if place not in self._watches:
            watch = self._watches[place] = _Watch(place)
            watch.task = self._group.create_task(self._follow(watch), name=f"watch {' '.join(place)}")

    def resume(self) -> None:
        """The API server answers again: watches that wait for it do not wait any longer."""
        self._pauses.resume()

    def keep_only(self, refs: Iterable[Ref]) -> None:
        """End the watches that tell of none of these: nothing of theirs is wanted any more."""
        for place in self._watches.keys() - {self._place(ref) for ref in refs}:
            watch = self._watches.pop(place)
            if watch.task is not None:
                watch.task.cancel()

    def synced(self, ref: Ref) -> bool:
        """Whether `record` speaks for all labelled objects of the kind."""
        watch = self._watch_of(ref)
        return watch is not None and watch.synced

    def answers(self, ref: Ref) -> bool:
        """Whether the API server answered what its watch asked last. Else `record` may be long over."""
        watch = self._watch_of(ref)
        return watch is not None and watch.answers

    def record(self, ref: Ref) -> Record | None:
        watch = self._watch_of(ref)
        return watch.records.get((ref.namespace, ref.name)) if watch is not None else None

    def put(self, ref: Ref, record: Record) -> None:
        """The state that a write of ours returned: newer than what the watch has told so far."""
        watch = self._watch_of(ref)
        if watch is not None:
            self._keep(watch, (ref.namespace, ref.name), record, tell=False)

    def forget(self, ref: Ref) -> None:
        """The API server said that the object is gone."""
        watch = self._watch_of(ref)
        if watch is not None:
            watch.records.pop((ref.namespace, ref.name), None)

    def __len__(self) -> int:
        return sum(len(watch.records) for watch in self._watches.values())

    def _watch_of(self, ref: Ref) -> _Watch | None:
        return self._watches.get(self._place(ref))

    def _place(self, ref: Ref) -> _Place:
        if not self._by_namespace:
            return _Place(ref.api_version, ref.kind, "")
        is_namespace = (ref.api_version, ref.kind) == _NAMESPACE
        return _Place(ref.api_version, ref.kind, ref.name if is_namespace else ref.namespace)

    async def _follow(self, watch: _Watch) -> None:
        """List, then watch, for ever. However a watch ends there is a pause; where something goes wrong it grows while nothing is told."""
        first, longest = _BACKOFF_SECONDS
        pause = first
        while True:
            watch.told = False
            try:
                if not watch.version:
                    await self._list(watch)
                await self._watch(watch)
                pause = first
            except Expired:
                watch.version = ""
            except MemberUnreachable as error:
                watch.answers = False
                log.debug("watch of %s %s ended: %s", watch.api_version, watch.kind, error)
            except Refused as error:
                level = logging.DEBUG if error.code in (404, 503) else logging.WARNING
                log.log(level, "watch of %s %s was refused: %s", watch.api_version, watch.kind, error)
                if error.code == 404:
                    self._discovery.forget(watch.api_version)
                watch.version = ""
            if watch.told:
                pause = first
            resumed = await self._pauses.wait(pause * (0.5 + self._jitter() / 2))
            pause = first if resumed else min(longest, pause * 2)

    async def _list(self, watch: _Watch) -> None:
        resource = await self._resource(watch)
        listed: dict[tuple[str, str], Record] = {}
        metadata: Mapping[str, Any] = {}

        async def fetch(query: Mapping[str, str]) -> tuple[Any, str]:
            page = await self._member.get(resource.path(watch.namespace), query)
            return page, (page.get("metadata") or {}).get("continue") or ""

        async for page in pages(fetch, watch.selector):
            for item in page.get("items") or []:
                item.setdefault("apiVersion", watch.api_version)
                item.setdefault("kind", watch.kind)
                listed[namespace_of(item), name_of(item)] = record_of(item)
            metadata = page.get("metadata") or {}
        self._replace(watch, listed, str(metadata.get("resourceVersion") or ""))

    def _replace(self, watch: _Watch, listed: dict[tuple[str, str], Record], version: str) -> None:
        now, before = _version(version), dict(watch.records)
        restored = now < watch.highest
        if restored:
            watch.records.clear()  # the member's store is an older copy: what was seen of it later never happened
        for key, record in listed.items():
            self._keep(watch, key, record, tell=True)
        gone = [
            key for key, record in before.items() if key not in listed and (restored or record.version <= now)
        ]
        for key in gone:
            watch.records.pop(key, None)
            self._listener.object_changed(watch.ref(key), None)
        watch.version, watch.highest = version, now
        watch.synced = watch.answers = True
        self._listener.kind_synced(watch.api_version, watch.kind)

    async def _watch(self, watch: _Watch) -> None:
        resource = await self._resource(watch)
        path = resource.path(watch.namespace)
        try:
            async with watching(self._member, path, watch.selector, watch.version, self._jitter()) as lines:
                watch.answers = True
                while line := await lines.readline():
                    self._take(watch, orjson.loads(line))
                    watch.told = True
        except orjson.JSONDecodeError as error:
            raise MemberUnreachable(f"a watch sent what is not JSON: {error}") from error

    def _take(self, watch: _Watch, event: Mapping[str, Any]) -> None:
        type_, obj = event.get("type"), event.get("object") or {}
        if type_ == "ERROR":
            if obj.get("code") == 410:
                raise Expired
            raise Refused(int(obj.get("code") or 500), str(obj.get("reason")), str(obj.get("message")))
        metadata = obj.get("metadata") or {}
        if type_ in ("ADDED", "MODIFIED"):
            self._keep(watch, (namespace_of(obj), name_of(obj)), record_of(obj), tell=True)
        elif type_ == "DELETED":
            key = (namespace_of(obj), name_of(obj))
            known = watch.records.get(key)
            if known is not None and known.version <= _version(metadata.get("resourceVersion")):
                del watch.records[key]
                self._listener.object_changed(watch.ref(key), None)
        watch.version = str(metadata.get("resourceVersion") or watch.version)
        watch.highest = max(watch.highest, _version(watch.version))

    def _keep(self, watch: _Watch, key: tuple[str, str], record: Record, *, tell: bool) -> None:
        known = watch.records.get(key)
        # Our own writes' answers overtake the watch: an older event must not look like somebody's change.
        if known is not None and known.version >= record.version > 0:
            return
        watch.records[key] = record
        if tell:
            self._listener.object_changed(watch.ref(key), record)

    async def _resource(self, watch: _Watch) -> Resource:
        resource = await self._discovery.resource(watch.api_version, watch.kind)
        if resource is None:
            raise Refused(404, "NotFound", f"the member has no {watch.kind} in {watch.api_version}")
        return resource


class _Watch:
    __slots__ = (
        "answers",
        "highest",
        "namespace",
        "place",
        "records",
        "selector",
        "synced",
        "task",
        "told",
        "version",
    )

    def __init__(self, place: _Place) -> None:
        self.place = place
        self.selector = {"labelSelector": _SELECTOR}
        self.namespace = place.namespace
        if place.namespace and place[:2] == _NAMESPACE:  # who may see one Namespace may watch it by its name
            self.selector["fieldSelector"], self.namespace = f"metadata.name={place.namespace}", ""
        self.records: dict[tuple[str, str], Record] = {}
        self.version = ""
        self.highest = 0
        """Of the versions that the member's lists and watches showed."""
        self.synced = False
        self.answers = True
        self.told = False
        """The watch told something since it was opened last."""
        self.task: asyncio.Task[None] | None = None

    @property
    def api_version(self) -> str:
        return self.place.api_version

    @property
    def kind(self) -> str:
        return self.place.kind

    def ref(self, key: tuple[str, str]) -> Ref:
        return Ref(self.api_version, self.kind, *key)


def _version(text: str | None) -> int:
    """resourceVersions are compared as numbers (defined for Kubernetes' own since 1.35, true before); 0: unknown."""
    return int(text) if text and text.isdigit() else 0
