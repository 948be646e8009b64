"""CRDs made real: the table of kinds follows the CustomResourceDefinition objects.

A CRD's status is part of the commit that creates it, and the table follows the cache synchronously: a kind is established and
served as soon as its CRD's write is answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from towline.hub.api.cleanup import DEFINITIONS, INSTANCES_FINALIZER
from towline.hub.api.engine import Engine
from towline.hub.store.watch import Entry, WatchEvent
from towline.kube import crds, schemas
from towline.kube.kinds import Kind, Outdated
from towline.kube.objects import Object, with_finalizer

log = logging.getLogger(__name__)


class Definitions:
    """Keeps the rows of custom kinds in the engine's table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows: dict[str, tuple[Kind, ...]] = {}
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._engine.shapes[DEFINITIONS] = self._shape
        self._unsubscribe = self._engine.cache.subscribe(self._changed)
        for entry in self._engine.cache.list(*DEFINITIONS):
            self._define(entry)

    def stop(self) -> None:
        self._unsubscribe()

    def _shape(self, crd: Object, old: Object | None) -> Object:
        others = [entry.object for entry in self._engine.cache.list(*DEFINITIONS)]
        crd = crds.established(crd, others, self._engine.timestamp())
        return with_finalizer(crd, INSTANCES_FINALIZER) if old is None else crd

    def _changed(self, revision: int, events: Sequence[WatchEvent]) -> None:
        for event in events:
            if event.entry.key[:2] != DEFINITIONS:
                continue
            if event.type == "DELETED":
                self._replace(event.entry.key.name, ())
            else:
                self._define(event.entry)

    def _define(self, entry: Entry) -> None:
        try:
            rows = _rows(entry.object)
        except Exception:
            # One CRD that slipped through admission must not take the others down.
            log.exception("%s defines no kind", entry.key)
            rows = ()
        if entry.meta.deletionTimestamp:
            # No new objects while the old ones go; what is there can still be read and changed.
            rows = tuple(replace(r, verbs=tuple(v for v in r.verbs if v != "create")) for r in rows)
        self._replace(entry.key.name, self._dated(entry, rows))

    def _dated(self, entry: Entry, rows: tuple[Kind, ...]) -> tuple[Kind, ...]:
        """With what objects lack that were stored before the schema was what it is."""
        if not rows or not schemas.has_defaults(rows[0].schema):
            return rows
        known = self._rows.get(entry.key.name, ())
        before = entry.revision
        if known and known[0].outdated is not None and known[0].schema.node == rows[0].schema.node:
            before = known[0].outdated.before
        outdated = Outdated(before, {row.api_version: row.schema for row in rows})
        return tuple(replace(row, outdated=outdated) for row in rows)

    def _replace(self, name: str, rows: tuple[Kind, ...]) -> None:
        table = self._engine.kinds
        known = self._rows.get(name, ())
        taken = [r for r in rows if self._is_taken(r, known)]
        if taken:
            log.warning("%s: the names of %s are taken by another kind", name, taken[0].kind)
            rows = tuple(r for r in rows if r not in taken)
        for row in known:
            table.remove(row)
        for row in rows:
            table.add(row)
        if rows:
            self._rows[name] = rows
        else:
            self._rows.pop(name, None)

    def _is_taken(self, row: Kind, known: Sequence[Kind]) -> bool:
        table = self._engine.kinds
        others = (table.resource(row.group, row.version, row.plural), table.named(row.api_version, row.kind))
        return any(other is not None and other not in known for other in others)


def _rows(crd: Object) -> tuple[Kind, ...]:
    """The served versions, the one that is stored first: objects are stored in the version of the table's first row."""
    if not crds.is_established(crd):
        return ()
    stored = next((v.get("name") for v in crd["spec"]["versions"] if v.get("storage")), None)
    return tuple(sorted(crds.kinds_of(crd), key=lambda row: row.version != stored))
