"""The hub's objects in memory: what every read, list and watch is served from.

The cache loads the store once, follows its changes, and keeps each object as bytes with the resourceVersion stamped
in, a small metadata record, and nothing parsed unless somebody asks. The last changes stay in a ring for each resource,
bounded over all resources together.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import TypeAlias

import msgspec

from towline.hub.decide.plan import INDEXED_LABELS, UNCOLLECTED
from towline.hub.decide.policies import is_policy
from towline.hub.store.contract import Change, Compacted, Lease, Row, Store, Unavailable, Write
from towline.hub.store.index import LabelIndex, OwnerIndex, SelectionIndex
from towline.hub.store.watch import Entry, EventType, Gone, ParsedObjects, Ring, Source, Watch, WatchEvent
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object, parse_path, read_meta, stamp, stamp_again

__all__ = [
    "Cache",
    "CacheSnapshot",
    "Entry",
    "EventType",
    "Gone",
    "LabelIndex",
    "ParsedObjects",
    "Ring",
    "Shelf",
    "Source",
    "Subscriber",
    "Watch",
    "WatchEvent",
]

log = logging.getLogger(__name__)

SHOWN_SECONDS_MAX = 20.0
"""How long a commit may take from the store back to the cache. Then the writer is told, rather than left waiting."""
_APPLY_CHANGES = 500
_RELOAD_BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

Subscriber = Callable[[int, Sequence[WatchEvent]], None]
Entries: TypeAlias = list[Entry]
Changes: TypeAlias = list[Change]  # `list` is a method's name in the class below


class Shelf:
    """The entries of one resource, in the order of `Key.place`. A list that nothing changed since it was asked for is the same tuple."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._entries: dict[tuple[str, str], Entry] = {}
        self._sorted: list[tuple[str, str]] = []
        self._listed: dict[str | None, tuple[Entry, ...]] = {}

    def get(self, namespace: str, name: str) -> Entry | None:
        return self._entries.get((namespace, name))

    def fill(self, entries: Iterable[Entry]) -> None:
        """Many new entries at once: sorted once."""
        self._entries.update(((entry.key.namespace, entry.key.name), entry) for entry in entries)
        self._sorted = sorted(self._entries, key=_place)
        self._listed.clear()

    def put(self, entry: Entry) -> None:
        at = (entry.key.namespace, entry.key.name)
        if at not in self._entries:
            insort(self._sorted, at, key=_place)
        self._entries[at] = entry
        self._changed(at[0])

    def remove(self, key: Key) -> None:
        at = (key.namespace, key.name)
        del self._entries[at]
        del self._sorted[bisect_left(self._sorted, _place(at), key=_place)]
        self._changed(at[0])

    def list(self, namespace: str | None) -> tuple[Entry, ...]:
        listed = self._listed.get(namespace)
        if listed is None:
            keys = self._sorted
            if namespace is not None:
                start = bisect_left(keys, (namespace + "/", ""), key=_place)
                keys = keys[start : bisect_left(keys, (namespace + "/\0", ""), key=_place)]
            listed = tuple([self._entries[at] for at in keys])
            if listed:
                self._listed[namespace] = listed
        return listed

    def __len__(self) -> int:
        return len(self._entries)

    def _changed(self, namespace: str) -> None:
        if self._listed:
            self._listed.pop(None, None)
            self._listed.pop(namespace, None)


def _place(at: tuple[str, str]) -> tuple[str, str]:
    """`Key.place` of a namespace and a name."""
    return at[0] + "/", at[1]


class CacheSnapshot:
    """The cache as decisions see it: parsed objects, live. Whoever reads without awaiting reads one revision."""

    def __init__(self, cache: Cache, kinds: KindTable) -> None:
        self._cache = cache
        self._kinds = kinds

    @property
    def kinds(self) -> KindTable:
        return self._kinds

    @property
    def revision(self) -> int:
        return self._cache.revision

    def get(self, key: Key) -> Object | None:
        entry = self._cache.get(key)
        return None if entry is None else entry.object

    def list(self, group: str, resource: str, namespace: str | None = None) -> Sequence[Object]:
        return [entry.object for entry in self._cache.list(group, resource, namespace)]

    def labelled(self, label: str, value: str) -> Sequence[Key]:
        return self._cache.labelled(label, value)

    def dependents(self, uid: str) -> Sequence[Key]:
        return self._cache.dependents(uid)

    def selecting(self, template: Object) -> Sequence[Key]:
        return self._cache.selecting(template)


class Cache:
    """The store's rows, followed. `window_events` and `window_bytes` bound the rings of all resources together, `parsed_objects` the
    parsed trees. `owners`: whether dependents can be asked for. `sleep` is for the backoff between attempts to load again."""

    def __init__(
        self,
        store: Store,
        kinds: KindTable,
        *,
        window_events: int = 10_000,
        window_bytes: int = 16 * 1024 * 1024,
        parsed_objects: int = 1024,
        indexed_labels: Sequence[str] = INDEXED_LABELS,
        owners: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._sleep = sleep
        self._window_events = window_events
        self._window_bytes = window_bytes
        self._kept_bytes = 0
        self._parsed = ParsedObjects(parsed_objects)
        self._index = LabelIndex(indexed_labels)
        self._owners = OwnerIndex(UNCOLLECTED) if owners else None
        self._selections = SelectionIndex()
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._order: deque[tuple[Ring, int]] = deque()
        """Whose event is the oldest, the second oldest, ...: one place for each event that is kept."""
        self._floor = 0
        self._revision = 0
        self._subscribers: dict[object, Subscriber] = {}
        self._failing: set[object] = set()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waits = 0
        self._stopped = False
        self.commits = 0
        """Commits made through this cache."""
        self.synced = asyncio.Event()
        self.snapshot = CacheSnapshot(self, kinds)

    # --- reading ---------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        return self._revision

    def get(self, key: Key) -> Entry | None:
        shelf = self._shelves.get((key.group, key.resource))
        return None if shelf is None else shelf.get(key.namespace, key.name)

    def list(self, group: str, resource: str, namespace: str | None = None) -> Sequence[Entry]:
        shelf = self._shelves.get((group, resource))
        return () if shelf is None else shelf.list(namespace)

    def at(self, group: str, resource: str, namespace: str | None, revision: int) -> Sequence[Entry]:
        shelf = self._shelf(group, resource)
        return shelf.ring.undo(shelf.list(namespace), namespace, revision)

    def labelled(self, label: str, value: str) -> Sequence[Key]:
        """Keys of any kind that carry an indexed label, sorted. Raises KeyError for a label that is not indexed."""
        return self._index.find(label, value)

    def dependents(self, uid: str) -> Sequence[Key]:
        """Keys of what names `uid` as an owner, sorted; see UNCOLLECTED."""
        return () if self._owners is None else self._owners.find(uid)

    def selecting(self, template: Object) -> Sequence[Key]:
        """As `Snapshot.selecting`, in key order."""
        return self._selections.find(template)

    def owned(self) -> Iterator[Key]:
        """Keys of all that has owners, some more than once."""
        return iter(()) if self._owners is None else self._owners.all()

    def counts(self) -> dict[tuple[str, str], int]:
        """How many objects there are, by (group, resource)."""
        return {at: len(shelf) for at, shelf in self._shelves.items()}

    def watch(self, group: str, resource: str, after: int) -> Watch:
        ring = self._shelf(group, resource).ring
        if after < ring.floor:
            raise Gone(f"too old resource version: {after} ({ring.floor})")
        return Watch(self, ring, after)

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call `callback(revision, events)` after each batch of changes, in order, synchronously; what was there
        when the cache loaded is not told. Answers how to stop it."""
        ticket = object()
        self._subscribers[ticket] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(ticket, None)
            self._failing.discard(ticket)

        return unsubscribe

    # --- writing ---------------------------------------------------------------------------------------------

    async def commit(self, writes: Sequence[Write], *, fence: Lease | None = None) -> int:
        """`Store.commit`, and then the wait until this cache shows it: the writer's next read sees its write."""
        revision = await self._store.commit(writes, fence=fence)
        self.commits += 1
        if (
            self._revision < revision
            and not self._stopped
            and not await self.wait(revision, SHOWN_SECONDS_MAX)
        ):
            raise Unavailable(
                f"the commit {revision} is not seen here within {SHOWN_SECONDS_MAX:.0f} s",
                maybe_committed=True,
            )
        return revision

    async def wait(self, revision: int, timeout: float) -> bool:
        if self._revision < revision and not self._stopped:
            try:
                async with asyncio.timeout(timeout):
                    await self._shown(revision)
            except TimeoutError:
                return False
        return self._revision >= revision

    def _shown(self, revision: int) -> asyncio.Future[None]:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits += 1
        heapq.heappush(self._waiting, (revision, self._waits, turn))
        return turn

    # --- following -------------------------------------------------------------------------------------------

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Load, set `synced` and `started`, then follow the store until cancelled or until the store is closed.

        Raises Unavailable when the first load fails. Later failures are retried."""
        try:
            await self._load_first()
            self.synced.set()
            if started is not None:
                started.set()
            while True:
                try:
                    async with aclosing(self._store.changes(self._revision)) as batches:
                        async for changes in batches:
                            await self._apply_all(changes)
                    return
                except Compacted:
                    log.warning("the changes after revision %d are gone: loading again", self._revision)
                    await self._load_again()
        finally:
            self._stop()

    async def _load_first(self) -> None:
        """The first load. Nothing is told to anybody: there was nothing before it."""
        entries: dict[tuple[str, str], Entries] = {}
        now_at = 0
        async with aclosing(self._store.load()) as pages:
            async for revision, rows in pages:
                now_at = revision
                for row in rows:
                    entry = self._entry(row.key, row.value, row.revision)
                    if entry is not None:
                        entries.setdefault((entry.key.group, entry.key.resource), []).append(entry)
                await asyncio.sleep(0)  # a page takes milliseconds, and probes want their answers meanwhile
        self._floor = self._revision = now_at
        for shelf in self._shelves.values():
            shelf.ring.clear(now_at)  # asked for before there was anything to watch
        for (group, resource), loaded in entries.items():
            self._shelf(group, resource).fill(loaded)
            for entry in loaded:
                self._index.replace(entry.key, None, entry.meta.labels)
                if self._owners is not None:
                    self._owners.replace(entry.key, None, entry.meta)
                if is_policy(entry.key):
                    self._selections.replace(entry.key, None, entry.object)
        self._show()

    async def _load_again(self) -> None:
        attempt = 0
        while True:
            try:
                await self._reload()
                return
            except (Unavailable, Compacted) as failure:
                seconds = _RELOAD_BACKOFF_SECONDS[min(attempt, len(_RELOAD_BACKOFF_SECONDS) - 1)]
                log.warning("loading again failed, next attempt in %s s: %s", seconds, failure)
                attempt += 1
                await self._sleep(seconds)

    async def _reload(self) -> None:
        """Load beside what is shown, then apply the differences as if they were changes. Readers see either the old
        state or the new one, and watchers who had read everything lose nothing."""
        changed: Changes = []
        seen: set[Key] = set()
        now_at = 0
        async with aclosing(self._store.load()) as pages:
            async for revision, rows in pages:
                now_at = revision
                changed += self._differing(rows, seen)
                await asyncio.sleep(0)
        if now_at < self._revision:
            # The store went back in time (a restored backup): no revision that anybody holds means anything.
            log.error("the store went back from revision %d to %d: all watches end", self._revision, now_at)
            for shelf in self._shelves.values():
                shelf.ring.clear(now_at)
            self._order.clear()
            self._kept_bytes = 0
            self._floor = self._revision = now_at
        changed.sort(key=lambda change: change.revision)
        for shelf in self._shelves.values():
            changed += [Change(e.key.path(), None, now_at) for e in shelf.list(None) if e.key not in seen]
        self._apply(changed, now_at)

    def _differing(self, rows: Iterable[Row], seen: set[Key]) -> Changes:
        changed: Changes = []
        for row in rows:
            entry = self._entry(row.key, row.value, row.revision)
            if entry is None:
                continue
            seen.add(entry.key)
            shown = self.get(entry.key)
            # Bytes, not revisions: after a restored backup one revision may stand for two histories.
            if shown is None or shown.value != entry.value:
                changed.append(Change(*row))
        return changed

    async def _apply_all(self, changes: Changes) -> None:
        """Apply in pieces of whole revisions, so that a long catch-up does not keep the loop to itself."""
        start = 0
        while start < len(changes):
            end = min(start + _APPLY_CHANGES, len(changes))
            while end < len(changes) and changes[end].revision == changes[end - 1].revision:
                end += 1
            self._apply(changes[start:end], changes[end - 1].revision)
            start = end
            if start < len(changes):
                await asyncio.sleep(0)

    def _apply(self, changes: Iterable[Change], revision: int) -> None:
        events: list[WatchEvent] = []
        rings: set[Ring] = set()
        for change in changes:
            event = self._event(change)
            if event is None:
                continue
            key = event.entry.key
            shelf = self._shelf(key.group, key.resource)
            if event.type == "DELETED":
                shelf.remove(key)
            else:
                shelf.put(event.entry)
            before = None if event.previous is None else event.previous.meta
            after = None if event.type == "DELETED" else event.entry.meta
            self._index.replace(
                key, None if before is None else before.labels, None if after is None else after.labels
            )
            if self._owners is not None:
                self._owners.replace(key, before, after)
            if is_policy(key):
                self._selections.replace(
                    key, _object(event.previous), _object(None if after is None else event.entry)
                )
            shelf.ring.append(event)
            size = len(event.entry.value)
            self._order.append((shelf.ring, size))
            self._kept_bytes += size
            rings.add(shelf.ring)
            events.append(event)
        while len(self._order) > self._window_events or self._kept_bytes > self._window_bytes:
            ring, size = self._order.popleft()
            self._kept_bytes -= size
            ring.drop_oldest()
        self._revision = revision
        if events:
            self._tell(events)
        for ring in rings:
            ring.wake()
        self._show()

    def _event(self, change: Change) -> WatchEvent | None:
        if change.value is not None:
            entry = self._entry(change.key, change.value, change.revision)
            if entry is None:
                return None
            previous = self.get(entry.key)
            return WatchEvent("ADDED" if previous is None else "MODIFIED", entry, previous)
        try:
            previous = self.get(parse_path(change.key))
        except ValueError:
            return None
        if previous is None:
            return None
        value = stamp_again(previous.value, previous.revision, change.revision)
        entry = Entry(previous.key, value, change.revision, previous.meta, self._parsed)
        return WatchEvent("DELETED", entry, previous)

    def _entry(self, path: str, value: bytes, revision: int) -> Entry | None:
        """None for a row that is no object: one bad row must not keep the hub from starting."""
        try:
            return Entry(parse_path(path), stamp(value, revision), revision, read_meta(value), self._parsed)
        except (ValueError, msgspec.DecodeError) as error:
            log.error("a row that is not an object is ignored: %s: %s", path, error)
            return None

    def _tell(self, events: Sequence[WatchEvent]) -> None:
        for ticket, callback in list(self._subscribers.items()):
            if ticket not in self._subscribers:
                continue  # an earlier callback ended it
            try:
                callback(self._revision, events)
                self._failing.discard(ticket)
            except Exception:
                # Once until it works again: what fails on every change would drown everything else in the log.
                if ticket not in self._failing:
                    log.exception("a subscriber of the cache failed at revision %d", self._revision)
                self._failing.add(ticket)

    def _show(self) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= self._revision:
            turn = heapq.heappop(waiting)[2]
            if not turn.done():
                turn.set_result(None)

    def _stop(self) -> None:
        """Nothing will be shown any more: let go of everybody who waits for it."""
        self._stopped = True
        for _, _, turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
        self._waiting.clear()
        for shelf in self._shelves.values():
            shelf.ring.close()

    def _shelf(self, group: str, resource: str) -> Shelf:
        shelf = self._shelves.get((group, resource))
        if shelf is None:
            shelf = self._shelves[group, resource] = Shelf(Ring(self._floor))
        return shelf


def _object(entry: Entry | None) -> Object | None:
    return None if entry is None else entry.object
