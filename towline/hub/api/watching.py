"""Watches: the lines that one watcher gets, made from the events that all share. No I/O here.

What a watcher may not select (labels, fields) is synthesized as Kubernetes does: an object that enters the selection is
ADDED, one that leaves it is DELETED with its last state, both at the revision of the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson

from towline.hub.api import list_options, paths, reads, status, tables
from towline.hub.api.bodies import Accepted
from towline.hub.api.engine import Engine
from towline.hub.api.reads import Selection
from towline.hub.api.versions import as_version, current, is_outdated
from towline.hub.store.watch import Entry, Gone, Watch, WatchEvent
from towline.kube.kinds import Kind
from towline.kube.objects import with_annotations

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Feed:
    """One watcher's view of a resource. `open` answers the first lines; then each batch of `watch` goes through `lines`.

    Raises StatusError from `open` for a request that cannot be."""

    def __init__(
        self, engine: Engine, kind: Kind, chosen: Selection, accept: Accepted, query: Mapping[str, str]
    ) -> None:
        self.engine = engine
        self.kind = kind
        self.chosen = chosen
        self.accept = accept
        self.bookmarks = paths.flag(query, "allowWatchBookmarks")
        self.include = reads.included(query)
        list_options.check(query, watch=True)
        self._initial = list_options.initial_events(query)
        self._after = list_options.revision(query)
        self._plain = accept.form == "plain"
        self._headers = True
        self._shared = self._plain and chosen.everything and kind is engine.storage(kind)
        self._bookmarked = 0
        self.watch: Watch

    async def open(self) -> bytes:
        """Start to watch; the initial events, if the request asks for some."""
        source = self.engine.source(self.kind)
        await self.engine.until(source, self._after)
        kind = self.kind
        if not self._initial:
            try:
                self.watch = source.watch(*kind.resource, self._after or source.revision)
            except Gone as gone:
                raise status.expired(str(gone)) from None
            return b""
        # Nothing awaits between the list and the watch: together they are one revision.
        revision = source.revision
        self.watch = source.watch(*kind.resource, revision)
        entries = reads.select(self.engine, kind, self.chosen)
        lines = [self._line("ADDED", entry, entry.value) for entry in entries]
        if self._initial == "bookmarked":
            lines.append(self.bookmark(revision, initial_end=True))
        self._bookmarked = revision
        return b"".join(lines)

    def lines(self, events: Sequence[WatchEvent]) -> bytes:
        """The lines for a batch; may be empty."""
        if self._shared and self.chosen.namespace is None and self.kind.outdated is None:
            return b"".join([event.line or shared_line(event) for event in events])
        return b"".join(self._chosen_lines(events))

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        obj = {
            "kind": self.kind.kind,
            "apiVersion": self.kind.api_version,
            "metadata": {"resourceVersion": str(revision), "creationTimestamp": None},
        }
        if self.accept.form == "partial":
            obj.update(kind="PartialObjectMetadata", apiVersion=f"meta.k8s.io/{self.accept.version}")
        if initial_end:
            obj = with_annotations(obj, {INITIAL_EVENTS_END: "true"})
        encoded = orjson.dumps(obj)
        if self.accept.form == "table":
            # kubectl reads the revision of a table's bookmark from the one row's object.
            encoded = orjson.dumps(
                {
                    "kind": "Table",
                    "apiVersion": f"meta.k8s.io/{self.accept.version}",
                    "metadata": {"resourceVersion": str(revision)},
                    "columnDefinitions": tables.definitions(self.kind) if self._headers else None,
                    "rows": [{"cells": [""] * len(tables.definitions(self.kind)), "object": obj}],
                }
            )
            self._headers = False
        self._bookmarked = revision
        return b'{"type":"BOOKMARK","object":%b}\n' % encoded

    def idle_bookmark(self) -> bytes:
        """A bookmark where the watcher wants them and the revision moved on since the last."""
        revision = self.watch.revision
        return self.bookmark(revision) if self.bookmarks and revision > self._bookmarked else b""

    def _chosen_lines(self, events: Iterable[WatchEvent]) -> Iterator[bytes]:
        namespace = self.chosen.namespace
        for event in events:
            entry = event.entry
            if namespace is not None and entry.key.namespace != namespace:
                continue
            if self.chosen.everything:
                if self._shared and not is_outdated(self.kind, entry):
                    yield event.line or shared_line(event)
                else:
                    yield self._line(event.type, entry, entry.value)
                continue
            before = event.previous is not None and self.chosen.holds(event.previous)
            after = event.type != "DELETED" and self.chosen.holds(entry)
            if after:
                yield self._line("MODIFIED" if before else "ADDED", entry, entry.value)
            elif before:
                yield self._left(event)

    def _left(self, event: WatchEvent) -> bytes:
        if event.type == "DELETED" or event.previous is None:
            return self._line("DELETED", event.entry, event.entry.value)
        previous = event.previous
        value = restamp(previous.value, previous.revision, event.entry.revision)
        return self._line("DELETED", previous, value)

    def _line(self, type: str, entry: Entry, value: bytes) -> bytes:
        if is_outdated(self.kind, entry) and value is entry.value:
            entry = current(self.kind, entry)
            value = entry.value
        if self._plain:
            shown = as_version(value, self.kind)
        elif self.accept.form == "partial":
            shown = tables.partial(value, self.accept.version)
        else:
            shown = tables.table(
                self.kind,
                [entry],
                revision=entry.revision,
                now=self.engine.now(),
                version=self.accept.version,
                include=self.include,
                headers=self._headers,
            )
            self._headers = False
        return b'{"type":"%b","object":%b}\n' % (type.encode(), shown)


def shared_line(event: WatchEvent) -> bytes:
    """The event as every plain watcher gets it, encoded once."""
    line = event.line = b'{"type":"%b","object":%b}\n' % (event.type.encode(), event.entry.value)
    return line


def error_line(error: status.StatusError) -> bytes:
    return b'{"type":"ERROR","object":%b}\n' % error.encoded()


def restamp(value: bytes, old: int, new: int) -> bytes:
    return value.replace(b'"resourceVersion":"%d"' % old, b'"resourceVersion":"%d"' % new, 1)


def seconds(engine: Engine, query: Mapping[str, str]) -> float:
    """How long the watch lasts: what the client asks for, up to the server's own bound. The bound is spread, so that the
    watches of a start do not all end together."""
    asked = paths.number(query, "timeoutSeconds")
    bound = engine.limits.watch_seconds
    spread = int(engine.new_uid()[:4], 16) / 0xFFFF
    return min(asked, bound) if asked else bound * (0.5 + spread / 2)
