"""Works as the API shows them: computed ones and stored ones together, with revisions of the table's own.

Nothing is encoded until somebody reads it, and then from what the Work was when it changed. Writes of stored Works go to the cache;
the API refuses those of computed ones (`is_computed`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from towline.hub.decide import bindings
from towline.hub.decide.userworks import APPLIED_MESSAGE, DISPATCHING, SUSPENDED
from towline.hub.decide.wire import Phase, WireWork, WorkReport
from towline.hub.decide.works import owner_annotations
from towline.hub.store.cache import Cache, Entry, Gone, Ring, Watch, WatchEvent
from towline.hub.store.works import NAMESPACES, WORKS, Record, WorkTable
from towline.kube import names
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Meta, Object, decode, labels_of, read_meta, uid_of

WINDOW_EVENTS = 1_000
UNKNOWN_TIME = "1970-01-01T00:00:00Z"


class WorkEntry(Entry):
    """An Entry that is encoded when somebody reads it."""

    __slots__ = ("_bytes", "_make", "_meta")

    def __init__(self, key: Key, revision: int, make: _Making) -> None:
        self.key = key
        self.revision = revision
        self._make = make
        self._bytes: bytes | None = None
        self._meta: Meta | None = None

    @property
    def value(self) -> bytes:  # type: ignore[override]
        if self._bytes is None:
            self._bytes = self._make.encode(self.key, self.revision)
        return self._bytes

    @property
    def meta(self) -> Meta:  # type: ignore[override]
        if self._meta is None:
            self._meta = read_meta(self.value)
        return self._meta

    @property
    def object(self) -> Object:
        return decode(self.value)

    def forget_object(self) -> None:
        """Nothing parsed is kept."""


class _Making:
    """What one state of a Work is made of; all of it frozen.

    Of its owner only what the Work shows is kept: a parsed binding for each change would be most of the hub's memory."""

    __slots__ = (
        "created", "deleted", "entries", "id_label", "kinds", "owner_key", "report", "since", "stored", "work",
    )  # fmt: skip

    def __init__(
        self,
        kinds: KindTable,
        work: WireWork,
        owner_key: Key,
        owner: Object,
        report: WorkReport | None = None,
    ) -> None:
        self.kinds = kinds
        metadata = owner["metadata"]
        self.work = work
        self.owner_key = owner_key
        self.created = metadata.get("creationTimestamp")
        self.deleted = metadata.get("deletionTimestamp")
        self.since = (owner.get("status") or {}).get("lastScheduledTime") or self.created
        self.id_label: tuple[str, str] | None = None
        if bindings.is_binding(owner_key):
            label = names.BINDING_ID if owner_key.namespace else names.CLUSTER_BINDING_ID
            self.id_label = (label, labels_of(owner).get(label) or uid_of(owner))
        self.stored = owner if owner_key[:2] == WORKS else None
        self.entries: Sequence[Any] = (owner.get("status") or {}).get("aggregatedStatus") or ()
        self.report = report

    def encode(self, key: Key, revision: int) -> bytes:
        if self.stored is not None:
            return _encoded(
                {**self.stored, "metadata": {**self.stored["metadata"], "resourceVersion": str(revision)}}
            )
        return _encoded(
            {
                "apiVersion": f"{names.WORK_GROUP}/v1alpha1",
                "kind": "Work",
                "metadata": {"resourceVersion": str(revision), **self._metadata(key)},
                "spec": self._spec(),
                "status": self._status(key),
            }
        )

    def _metadata(self, key: Key) -> Object:
        labels = {names.WORK_ID: self.work.uid}
        annotations = {
            names.CONFLICT_RESOLUTION: "overwrite" if self.work.conflict.value == 1 else "abort",
        }
        if self.id_label is not None:
            label, value = self.id_label
            labels[label] = value
            annotations |= owner_annotations(self.owner_key)
        if self.work.overrides is not None:
            annotations |= self.work.overrides.annotations
        metadata: Object = {
            "name": key.name,
            "namespace": key.namespace,
            "uid": self.work.uid,
            "creationTimestamp": self.created,
            "generation": 1,
            "labels": labels,
            "annotations": annotations,
            "finalizers": [names.EXECUTION_FINALIZER],
        }
        if self.work.removing:
            metadata["deletionTimestamp"] = self.deleted or self.created
            metadata["deletionGracePeriodSeconds"] = 0
        return metadata

    def _spec(self) -> Object:
        spec: Object = {"workload": {"manifests": [orjson.Fragment(m) for m in self.work.manifests]}}
        if self.work.suspended:
            spec["suspendDispatching"] = True
        spec["preserveResourcesOnDeletion"] = self.work.preserve
        return spec

    def _status(self, key: Key) -> Object:
        conditions: list[Object] = []
        applied, message, statuses = self._reported(key)
        if applied is not None:
            value = (
                ("True", "AppliedSuccessful", APPLIED_MESSAGE)
                if applied
                else ("False", "AppliedFailed", message)
            )
            conditions.append(_condition("Applied", *value, self.since))
        conditions.append(
            _condition("Dispatching", *(SUSPENDED if self.work.suspended else DISPATCHING), self.since)
        )
        status: Object = {"conditions": conditions}
        if statuses:
            status["manifestStatuses"] = statuses
        return status

    def _reported(self, key: Key) -> tuple[bool | None, str, list[Object]]:
        """What the last report said: applied (None: no report), why not, and the manifests' statuses."""
        if self.work.blocked is not None:
            return False, str(self.work.blocked), []
        if self.report is not None:
            applied = self.report.phase == Phase.APPLIED
            first = self.report.statuses[0] if self.report.statuses else None
            state = orjson.loads(first.status) if first and first.status else None
            health = first.health if first else None
            return applied, self.report.message, self._manifest_statuses(health, state) if applied else []
        if self.owner_key[:2] == NAMESPACES and self.work.report_hash:
            return True, "", []  # of namespaces only refusals are kept
        cluster = names.cluster_of_execution_namespace(key.namespace) or ""
        entry = next((e for e in self.entries if e.get("clusterName") == cluster), None)
        if entry is None or "applied" not in entry:
            return None, "", []
        applied, message = bool(entry["applied"]), str(entry.get("appliedMessage") or "")
        statuses = self._manifest_statuses(entry.get("health"), entry.get("status")) if applied else []
        return applied, message, statuses

    def _manifest_statuses(self, health: Any, state: Any) -> list[Object]:
        if health is None or not self.work.refs:
            return []
        ref = self.work.refs[0]
        kind = self.kinds.named(ref.api_version, ref.kind)
        group, _, version = ref.api_version.rpartition("/")
        identifier: Object = {
            "ordinal": 0,
            "group": group,
            "version": version,
            "kind": ref.kind,
            "resource": kind.plural if kind is not None else "",
            "namespace": ref.namespace,
            "name": ref.name,
        }
        status: Object = {"identifier": {k: v for k, v in identifier.items() if v != ""}, "health": health}
        if state is not None:
            status["status"] = state
        return [status]


class WorkView:
    """The Source of `works.work.karmada.io`. Create it before the table's `load`."""

    def __init__(self, table: WorkTable, *, window_events: int = WINDOW_EVENTS) -> None:
        self._table = table
        self._cache: Cache = table.cache
        self._kinds = table.cache.snapshot.kinds
        self._window_events = window_events
        self._ring = Ring(table.revision)
        self._kept: deque[None] = deque()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        table.subscribe_records(self._follow)

    @property
    def revision(self) -> int:
        return self._table.revision

    def is_computed(self, key: Key) -> bool:
        """Whether the Work at `key` is the hub's own and refuses writes."""
        cluster = names.cluster_of_execution_namespace(key.namespace)
        record = self._table.record(cluster, key.name) if cluster else None
        return record is not None and record.owner != key

    def refuse(self, verb: str, key: Key) -> str | None:
        """Why the API must not carry a write out; None when it may."""
        if not self.is_computed(key):
            return None
        return "this Work is computed from its binding or Namespace; change those instead"

    def get(self, key: Key) -> Entry | None:
        cluster = names.cluster_of_execution_namespace(key.namespace)
        record = self._table.record(cluster, key.name) if cluster else None
        if cluster is not None and record is not None:
            return self._entry(cluster, key.name, record)
        return self._unsent(key)

    def list(self, group: str, resource: str, namespace: str | None = None) -> Sequence[Entry]:
        found: dict[Key, Entry] = {}
        for stored in self._cache.list(*WORKS, namespace):
            entry = self._unsent(stored.key)
            if entry is not None:
                found[stored.key] = entry
        for cluster, name, record in self._records(namespace):
            entry = self._entry(cluster, name, record)
            if entry is not None:
                found[entry.key] = entry
        return sorted(found.values(), key=lambda entry: entry.key.place)

    def at(self, group: str, resource: str, namespace: str | None, revision: int) -> Sequence[Entry]:
        return self._ring.undo(self.list(group, resource, namespace), namespace, revision)

    def watch(self, group: str, resource: str, after: int) -> Watch:
        if not self._ring.floor <= after <= self.revision:
            # Another start, or another hub, counts in other numbers.
            raise Gone(f"no resource version of this hub's: {after} ({self._ring.floor} to {self.revision})")
        return Watch(self, self._ring, after)

    async def wait(self, revision: int, timeout: float) -> bool:
        if self.revision < revision:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((revision, turn))
            try:
                async with asyncio.timeout(timeout):
                    await turn
            except TimeoutError:
                return False
        return self.revision >= revision

    # --- making entries --------------------------------------------------------------------------------------

    def _records(self, namespace: str | None) -> Iterable[tuple[str, str, Record]]:
        if namespace is None:
            yield from self._table.records()
            return
        cluster = names.cluster_of_execution_namespace(namespace)
        for name in list(self._table.works_of(cluster)) if cluster else ():
            record = self._table.record(cluster, name) if cluster else None
            if cluster is not None and record is not None:
                yield cluster, name, record

    def _unsent(self, key: Key) -> Entry | None:
        """A stored Work that is not in the table: its finalizer is not on it yet."""
        stored = self._cache.get(key)
        if stored is None:
            return None
        work = WireWork(key.name, stored.meta.uid, 0, b"", ())
        return WorkEntry(key, self._ring.floor, _Making(self._kinds, work, key, stored.object))

    def _entry(self, cluster: str, name: str, record: Record) -> Entry | None:
        owner = self._cache.snapshot.get(record.owner)
        if owner is None:
            return None
        key = Key(*WORKS, names.execution_namespace(cluster), name)
        report = self._table.pending_report(cluster, name) if not record.work.removing else None
        return WorkEntry(key, record.revision, _Making(self._kinds, record.work, record.owner, owner, report))

    # --- following the table ---------------------------------------------------------------------------------

    def _follow(self, changes: Iterable[tuple[str, str, Record | None, Record | None]]) -> None:
        for cluster, name, before, after in sorted(changes, key=_revision_of):
            event = self._event(cluster, name, before, after)
            if event is not None:
                self._ring.append(event)
                self._kept.append(None)
        while len(self._kept) > self._window_events:
            self._kept.popleft()
            self._ring.drop_oldest()
        self._ring.wake()
        waiting, self._waiting = self._waiting, []
        for revision, turn in waiting:
            if revision > self.revision:
                self._waiting.append((revision, turn))
            elif not turn.done():
                turn.set_result(None)

    def _event(
        self, cluster: str, name: str, before: Record | None, after: Record | None
    ) -> WatchEvent | None:
        if after is not None:
            entry = self._entry(cluster, name, after)
            if entry is None:
                return None
            previous = self._last(cluster, name, before, entry) if before is not None else None
            return WatchEvent("ADDED" if before is None else "MODIFIED", entry, previous)
        if before is None:
            return None
        key = Key(*WORKS, names.execution_namespace(cluster), name)
        # The owner may be gone with it: what identifies the Work is all that a deletion has to say.
        bare: Object = {"metadata": {"creationTimestamp": UNKNOWN_TIME}}
        owner = self._cache.snapshot.get(before.owner) or bare
        made = _Making(self._kinds, before.work, before.owner, owner)
        gone = WorkEntry(key, self._table.revision, made)
        return WatchEvent("DELETED", gone, WorkEntry(key, before.revision, made))

    def _last(self, cluster: str, name: str, before: Record, entry: Entry) -> Entry:
        owner = self._cache.snapshot.get(before.owner)
        if owner is None:
            return entry
        return WorkEntry(entry.key, before.revision, _Making(self._kinds, before.work, before.owner, owner))


def _revision_of(change: tuple[str, str, Record | None, Record | None]) -> tuple[int, str, str]:
    cluster, name, _, after = change
    return (after.revision if after is not None else 1 << 63, cluster, name)


def _condition(kind: str, status: str, reason: str, message: str, since: str | None) -> Object:
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": since or UNKNOWN_TIME,
        "reason": reason,
        "message": message,
    }


def _encoded(obj: Object) -> bytes:
    return orjson.dumps(obj)


__all__ = ["WorkEntry", "WorkView"]
