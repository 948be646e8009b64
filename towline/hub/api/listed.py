"""Bodies of whole lists, kept as long as nothing in them changes: many readers of one list cost one join, and one compression.

A body is known by the very tuple of entries that it was made of; the cache hands out the same one until something changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from towline.hub.store.watch import Entry, WatchEvent

ListKey = tuple[str, str, str, str | None, int]
"""(group, plural, version, namespace, the table of kinds' generation: another row may show the same bytes otherwise)."""


class _Kept(NamedTuple):
    entries: Sequence[Entry]
    head: int
    body: bytes
    packed: bytes = b""

    @property
    def size(self) -> int:
        return len(self.body) + len(self.packed)


class ListBodies:
    """At most `bytes_max` bytes of bodies, of those used last. Tell it what `changed`, so that it keeps nothing for nobody."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._size = 0
        self._kept: OrderedDict[ListKey, _Kept] = OrderedDict()

    def get(self, at: ListKey, entries: Sequence[Entry], head: bytes) -> bytes | None:
        """The body that begins with `head`, if one was kept for `entries`. Another head (a newer revision) is put in."""
        kept = self._kept.get(at)
        if kept is None or kept.entries is not entries:
            return None
        self._kept.move_to_end(at)
        if kept.body.startswith(head):
            return kept.body
        body = b"".join((head, memoryview(kept.body)[kept.head :]))
        self.keep(at, entries, head, body)
        return body

    def keep(self, at: ListKey, entries: Sequence[Entry], head: bytes, body: bytes) -> None:
        self._put(at, _Kept(entries, len(head), body))

    def packed(self, body: bytes) -> bytes:
        """The compressed form that was kept beside this very `body`; empty for none."""
        return next((kept.packed for kept in self._kept.values() if kept.body is body), b"")

    def keep_packed(self, body: bytes, packed: bytes) -> None:
        """Keep `packed` beside `body`, if that is still kept."""
        for at, kept in self._kept.items():
            if kept.body is body:
                self._put(at, kept._replace(packed=packed))
                return

    def changed(self, revision: int, events: Iterable[WatchEvent]) -> None:
        """A subscriber of the cache."""
        if not self._kept:
            return
        touched = {(event.entry.key.group, event.entry.key.resource) for event in events}
        for at in [at for at in self._kept if at[:2] in touched]:
            self._drop(at)

    def _put(self, at: ListKey, kept: _Kept) -> None:
        self._drop(at)
        self._kept[at] = kept
        self._size += kept.size
        while self._size > self._bytes_max:
            self._drop(next(iter(self._kept)))

    def _drop(self, at: ListKey) -> None:
        kept = self._kept.pop(at, None)
        if kept is not None:
            self._size -= kept.size
