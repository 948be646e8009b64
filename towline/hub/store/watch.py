"""Entries, events and watches: what a source of objects hands to its readers.

The last events of a resource stay in a ring, and a watch is a cursor into it: a thousand watchers cost a thousand
integers, and one that stops reading costs nobody else anything. The cache is one source, the table of computed Works
is another.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

from towline.kube.objects import Key, Meta, Object, decode

WATCH_BATCH_EVENTS = 500

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Gone(Exception):
    """The changes that a watch needs are not kept any more (HTTP 410): list again."""


class Entry:
    """One object at one revision. `value` includes the resourceVersion; `object` is parsed on demand and frozen."""

    __slots__ = ("_object", "_parsed", "key", "meta", "revision", "value")

    def __init__(self, key: Key, value: bytes, revision: int, meta: Meta, parsed: ParsedObjects) -> None:
        self.key = key
        self.value = value
        self.revision = revision
        self.meta = meta
        self._object: Object | None = None
        self._parsed = parsed

    @property
    def object(self) -> Object:
        obj = self._object
        if obj is None:
            obj = self._object = decode(self.value)
            self._parsed.admit(self)
        else:
            self._parsed.touch(self)
        return obj

    def forget_object(self) -> None:
        self._object = None

    def __repr__(self) -> str:
        return f"Entry({self.key}, revision={self.revision})"


class ParsedObjects:
    """Which entries may keep their parsed tree: the `size` used last. A tree is six times its bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[Entry, None] = OrderedDict()

    def admit(self, entry: Entry) -> None:
        self._entries[entry] = None
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)[0].forget_object()

    def touch(self, entry: Entry) -> None:
        self._entries.move_to_end(entry)


class WatchEvent:
    """One change of one object. For DELETED, `entry` is the last state, stamped with the deletion's revision.

    `line` belongs to the API: the event encoded once, for all watchers. It is dropped with the event."""

    __slots__ = ("entry", "line", "previous", "type")

    def __init__(self, type: EventType, entry: Entry, previous: Entry | None) -> None:
        self.type = type
        self.entry = entry
        self.previous = previous
        self.line: bytes | None = None

    def __repr__(self) -> str:
        return f"WatchEvent({self.type}, {self.entry!r})"


class Source(Protocol):
    """What the API reads a resource from. The cache is one; the table of computed Works is another."""

    @property
    def revision(self) -> int: ...

    def get(self, key: Key) -> Entry | None: ...

    def list(self, group: str, resource: str, namespace: str | None = None) -> Sequence[Entry]:
        """In the order of `Key.place`. Not to be changed."""

    def at(self, group: str, resource: str, namespace: str | None, revision: int) -> Sequence[Entry]:
        """`list` as it was at `revision`, which is shown here. Raises Gone when that is not known any more."""

    def watch(self, group: str, resource: str, after: int) -> Watch:
        """The changes with a revision above `after`. Raises Gone when some of them are not kept any more."""

    async def wait(self, revision: int, timeout: float) -> bool:
        """True as soon as `revision` shows here, False when that takes longer than `timeout` seconds."""


class Ring:
    """The last events of one resource, in order of revision, and the watches that wait for more."""

    def __init__(self, floor: int) -> None:
        self.floor = floor
        """No event at or below this revision is kept; all above it are."""
        self._events: list[WatchEvent] = []
        self._dropped = 0
        """Slots at the front of `_events` that are dropped: they are deleted many at a time."""
        self.first = 0
        """The number of the oldest event kept; numbers never start again."""
        self._waiting: dict[Watch, None] = {}
        self.closed = False

    @property
    def end(self) -> int:
        return self.first + len(self._events) - self._dropped

    def append(self, event: WatchEvent) -> None:
        self._events.append(event)

    def drop_oldest(self) -> None:
        event = self._events[self._dropped]
        self.floor = event.entry.revision
        self._events[self._dropped] = _DROPPED
        self._dropped += 1
        self.first += 1
        if self._dropped > 256 and self._dropped * 2 > len(self._events):
            del self._events[: self._dropped]
            self._dropped = 0

    def position(self, after: int) -> int:
        """The number of the first event above revision `after`."""
        index = bisect_right(self._events, after, lo=self._dropped, key=_revision_of)
        return self.first + index - self._dropped

    def read(self, number: int, count: int) -> list[WatchEvent]:
        start = number - self.first + self._dropped
        return self._events[start : start + count]

    def undo(self, entries: Sequence[Entry], namespace: str | None, revision: int) -> Sequence[Entry]:
        """The past is the present with its changes undone: what `entries`, the sorted present of `namespace`, were at
        `revision`. Raises Gone when some of the changes since are not kept."""
        if revision < self.floor:
            raise Gone(f"too old resource version: {revision} ({self.floor})")
        before: dict[Key, Entry | None] = {}
        for event in self.read(self.position(revision), len(self._events)):
            if namespace is None or event.entry.key.namespace == namespace:
                before.setdefault(event.entry.key, event.previous)
        if not before:
            return entries
        kept = [entry for entry in entries if entry.key not in before]
        return sorted(kept + [entry for entry in before.values() if entry is not None], key=_place_of)

    def clear(self, floor: int) -> None:
        """Forget all events and cut off who has not read them, and who has: history starts again."""
        self.first = self.end + 1
        self._events, self._dropped, self.floor = [], 0, floor
        self.wake()

    def wait(self, watch: Watch) -> None:
        self._waiting[watch] = None

    def leave(self, watch: Watch) -> None:
        self._waiting.pop(watch, None)

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for watch in waiting:
            watch.wake()

    def close(self) -> None:
        """No event will come any more: watches end."""
        self.closed = True
        self.wake()


class Watch:
    """A cursor into a ring: an async iterator of non-empty lists of events, for one reader.

    Raises Gone when the reader fell behind what is kept. Ends after `close()`."""

    def __init__(self, source: Source, ring: Ring, after: int) -> None:
        self._source = source
        self._ring = ring
        self._after = after
        self._next = ring.position(after)
        self._turn: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def revision(self) -> int:
        """Everything up to here was handed out: what a bookmark may say."""
        return max(self._after, self._source.revision) if self._next == self._ring.end else self._after

    def __aiter__(self) -> AsyncIterator[list[WatchEvent]]:
        return self

    async def __anext__(self) -> list[WatchEvent]:
        ring = self._ring
        while not (self._closed or ring.closed):
            if self._next < ring.first:
                raise Gone(f"the watch fell behind: changes up to {ring.floor} are not kept any more")
            events = ring.read(self._next, WATCH_BATCH_EVENTS)
            if not events:
                self._turn = asyncio.get_running_loop().create_future()
                ring.wait(self)
                await self._turn
                continue
            self._next += len(events)
            if events[0].entry.revision <= self._after:
                # The watch began above what the source showed then.
                events = [event for event in events if event.entry.revision > self._after]
            if events:
                self._after = events[-1].entry.revision
                return events
        raise StopAsyncIteration

    def close(self) -> None:
        self._closed = True
        self._ring.leave(self)
        self.wake()

    def wake(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)


def _revision_of(event: WatchEvent) -> int:
    return event.entry.revision


def _place_of(entry: Entry) -> tuple[str, str]:
    return entry.key.place


_DROPPED = WatchEvent("DELETED", Entry(Key("", "", "", ""), b"{}", 0, Meta(), ParsedObjects(0)), None)
"""Stands in a ring where an event was, so that the event's memory goes at once."""
