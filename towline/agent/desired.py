"""What the agent was told to hold: the desired table, in memory, as the disk keeps it.

Pure. The table outlives sessions: an agent cut off from its hub, or restarted without one, goes on enforcing it, and
nothing leaves it but by a removal that the hub sent and that was carried out. Every change comes back as effects for
the shell: rows to keep on disk, Works to reconcile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import Digests, report_hash


class Ref(NamedTuple):
    """An object in the member."""

    api_version: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class HeldWork:
    """One Work as the agent holds it; this is also the row on disk.

    What to do about it: apply every manifest; then let go of every object in `leftovers` (delete it if it is ours and
    carries this Work's name, only strip our marks from it if `preserve`). `removing` says that the hub wants the Work gone: it has no
    manifests then, and is finished when the leftovers are."""

    name: str
    uid: str
    revision: int
    """Of the frame that it was last told by; with `epoch` and `store_id` it decides which of two frames is newer."""
    epoch: int
    store_id: str
    hash: bytes
    manifests: tuple[bytes, ...]
    conflict: int
    """A `fleet.Conflict` value."""
    preserve: bool
    removing: bool = False
    leftovers: tuple[Ref, ...] = ()
    """Objects that earlier versions of this Work may have in the member and that are not in `manifests`."""
    report: bytes = b""
    """The last Report made of it, encoded; empty while there is none."""
    report_hash: bytes = b""
    stop_after_seconds: int = 0
    """It is stopped when the agent is cut off longer than this; 0: never."""

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The objects in `manifests`, in their order; what is not an object's JSON has none."""
        return tuple(ref for manifest in self.manifests if (ref := ref_of(manifest)) is not None)


@dataclass(frozen=True, slots=True)
class HubSeen:
    """The hub that the agent last synced with. Kept on disk too."""

    store_id: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Persist:
    """Put these rows on disk, forget those names.

    With a `sequence`: durably, and then call `AgentSession.persisted(sequence)`, which acknowledges the hub's batch; in
    the order of the effects. Without one it may be lazy: what it keeps can be found out again."""

    rows: tuple[HeldWork, ...] = ()
    deleted: tuple[str, ...] = ()
    sequence: int = 0
    hub: HubSeen | None = None
    heard_at: float | None = None
    """Wall clock: up to then the agent was not cut off. May be lazy: an earlier moment only makes it stop earlier."""


@dataclass(frozen=True, slots=True)
class Reconcile:
    """What the agent should do about Work `name` has changed. Comes after the Persist that holds the change; a
    removal's reconciliation may start only when that is durable."""

    name: str


@dataclass(slots=True)
class Changed:
    """What one or more frames changed in the table. `names` are to be reconciled."""

    rows: dict[str, HeldWork] = field(default_factory=dict)
    deleted: dict[str, None] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def persist(self, sequence: int = 0) -> Persist:
        return Persist(tuple(self.rows.values()), tuple(self.deleted), sequence)


class Desired:
    """The table, its digests, and the outbox of reports (the latest of each Work)."""

    def __init__(self, rows: Iterable[HeldWork] = (), hub: HubSeen | None = None) -> None:
        self.hub = hub or HubSeen()
        self.digests = Digests()
        self._rows: dict[str, HeldWork] = {}
        self._outbox: dict[str, bytes] = {}
        self.bounded: dict[str, int] = {}
        """What is stopped when the agent is cut off longer than so many seconds, by name."""
        self._forgotten: dict[str, bytes] = {}
        """REMOVED reports that wait for the disk."""
        for row in rows:
            self._keep(row)

    def get(self, name: str) -> HeldWork | None:
        return self._rows.get(name)

    def __iter__(self) -> Iterator[HeldWork]:
        return iter(list(self._rows.values()))

    def __len__(self) -> int:
        return len(self._rows)

    # --- what the hub says ---------------------------------------------------------------------------------------

    def upsert(self, work: fleet.Work, epoch: int, store_id: str, changed: Changed) -> None:
        """Take a Work over, unless what we hold is newer."""
        held = self._rows.get(work.name)
        if held is not None and _is_stale(held, work.revision, epoch, store_id):
            return
        manifests = tuple(work.manifests)
        row = HeldWork(
            work.name, work.uid, work.revision, epoch, store_id, work.hash, manifests, work.conflict, work.preserve,
            stop_after_seconds=work.stop_after_seconds,
        )  # fmt: skip
        if held is not None and not held.removing and held.uid == row.uid:
            row = replace(row, report=held.report, report_hash=held.report_hash)
        if held is not None:
            kept = frozenset(row.refs)
            left = dict.fromkeys((*held.leftovers, *held.refs))
            row = replace(row, leftovers=tuple(ref for ref in left if ref not in kept))
        if held == row:
            return
        same = held is not None and not held.removing and (held.uid, held.hash) == (row.uid, row.hash)
        if not same:
            self._unsay(row.name)
            changed.names[row.name] = None
        self._keep(row)
        _note(changed, row)

    def remove(self, removal: fleet.Removal, epoch: int, store_id: str, changed: Changed) -> None:
        """Begin to remove a Work, known or not: `removal.objects` may name what a lost disk forgot."""
        held = self._rows.get(removal.name)
        if held is not None and _is_stale(held, removal.revision, epoch, store_id):
            return
        told = (Ref(o.api_version, o.kind, o.namespace, o.name) for o in removal.objects)
        known = (*held.leftovers, *held.refs) if held is not None else ()
        row = HeldWork(
            removal.name, removal.uid, removal.revision, epoch, store_id,
            hash=b"", manifests=(), conflict=0, preserve=removal.preserve, removing=True,
            leftovers=tuple(dict.fromkeys((*known, *told))),
        )  # fmt: skip
        self._unsay(row.name)
        changed.names[row.name] = None
        if held == row:
            return
        self._keep(row)
        _note(changed, row)

    def detach(self, remains: int, changed: Changed) -> None:
        """The cluster was detached: begin to remove all that is held (`fleet.REMOVE`), to let go of it (`LET_GO`), or forget it
        (`LEAVE`). What was to be preserved, or was only shared, is let go of. Said twice it changes nothing."""
        for held in list(self._rows.values()):
            if remains == fleet.LEAVE:
                self._forget(held.name, changed)
                continue
            preserve = remains != fleet.REMOVE or held.preserve or held.conflict == fleet.SHARE
            if held.removing and (held.preserve or not preserve):
                continue
            row = replace(
                held, hash=b"", manifests=(), conflict=0, preserve=preserve, removing=True, report=b"", report_hash=b"",
                leftovers=tuple(dict.fromkeys((*held.leftovers, *held.refs))),
            )  # fmt: skip
            self._unsay(row.name)
            changed.names[row.name] = None
            self._keep(row)
            _note(changed, row)

    def adopt(self, name: str, refs: Iterable[Ref], preserve: bool, changed: Changed) -> None:
        """Begin to remove what was found in the member of a Work that is not held; `preserve`: only let go of it."""
        if name not in self._rows:
            row = HeldWork(
                name, "", 0, 0, "", hash=b"", manifests=(), conflict=0, preserve=preserve, removing=True,
                leftovers=tuple(refs),
            )  # fmt: skip
            self._keep(row)
            changed.names[name] = None
            _note(changed, row)

    def synced(self, epoch: int, store_id: str) -> HubSeen | None:
        """An exchange with a hub is done; answers what is to be kept of it if that is new."""
        if store_id == self.hub.store_id and epoch <= self.hub.epoch:
            return None
        self.hub = HubSeen(store_id, epoch)
        return self.hub

    # --- what the member says ------------------------------------------------------------------------------------

    def report(self, report: fleet.Report) -> Persist | None:
        """Take the latest report of a Work in: its `name`, `uid`, `work_hash`, `phase`, `message`, `statuses`, `drift`;
        the rest is filled in here. REMOVED forgets the Work, and is said only when that is `durable`.

        A report about another version than the one held is dropped: the reconciliation of that one will report."""
        held = self._rows.get(report.name)
        if held is None:
            return None
        if report.phase == fleet.REMOVED:
            return self._removed(held, report) if held.removing else None
        if held.removing:
            if report.phase == fleet.FAILED:
                self._queue(held, report)
            return None
        if (report.uid, report.work_hash) != (held.uid, held.hash):
            return None
        statuses = [(status.health, status.status) for status in report.statuses]
        hashed = report_hash(report.phase, report.message, statuses)
        if hashed == held.report_hash and not report.drift and _last(held).work_hash == held.hash:
            return None
        encoded = self._queue(held, report)
        row = replace(held, report=encoded, report_hash=hashed)
        self._keep(row)
        return Persist((row,))

    def durable(self, persist: Persist) -> None:
        """What `persist` forgets is gone from the disk: only now may the hub forget it too. An agent that died in between would
        find the Work on its disk and make its objects again, and nobody would know of them."""
        for name in persist.deleted:
            encoded = self._forgotten.pop(name, None)
            if encoded is not None:
                self._outbox[name] = encoded

    def cleared(self, name: str, refs: Iterable[Ref]) -> Persist | None:
        """These leftovers of a Work are gone from the member, or let go of."""
        held = self._rows.get(name)
        if held is None:
            return None
        gone = frozenset(refs)
        left = tuple(ref for ref in held.leftovers if ref not in gone)
        if left == held.leftovers:
            return None
        row = replace(held, leftovers=left)
        self._keep(row)
        return Persist((row,))

    def ask(self, names: Iterable[str]) -> None:
        """The hub lacks these reports: send again those that there are."""
        for name in names:
            held = self._rows.get(name)
            if held is not None and held.report:
                self._outbox.setdefault(name, held.report)

    def take_reports(self, bytes_max: int) -> list[fleet.Report]:
        """Reports to send, the oldest first, at least one if there is any, together not above `bytes_max`."""
        taken: list[fleet.Report] = []
        size = 0
        while self._outbox:
            name, encoded = next(iter(self._outbox.items()))
            size += len(encoded)
            if taken and size > bytes_max:
                break
            del self._outbox[name]
            taken.append(fleet.Report.FromString(encoded))
        return taken

    @property
    def has_reports(self) -> bool:
        return bool(self._outbox)

    # --- the table -----------------------------------------------------------------------------------------------

    def _keep(self, row: HeldWork) -> None:
        self._rows[row.name] = row
        self.bounded.pop(row.name, None)
        if row.stop_after_seconds:
            self.bounded[row.name] = row.stop_after_seconds
        if row.removing:
            self.digests.remove(row.name)
        else:
            self.digests.put(row.name, row.uid, row.hash, row.report_hash)

    def _forget(self, name: str, changed: Changed) -> None:
        self._drop(name)
        changed.deleted[name] = None
        changed.names[name] = None

    def _removed(self, held: HeldWork, report: fleet.Report) -> Persist:
        self._drop(held.name)
        self._forgotten[held.name] = _encoded(held, report)
        return Persist(deleted=(held.name,))

    def _drop(self, name: str) -> None:
        del self._rows[name]
        self.bounded.pop(name, None)
        self.digests.remove(name)
        self._unsay(name)

    def _unsay(self, name: str) -> None:
        self._outbox.pop(name, None)
        self._forgotten.pop(name, None)

    def _queue(self, held: HeldWork, report: fleet.Report) -> bytes:
        encoded = _encoded(held, report)
        self._outbox.pop(held.name, None)
        self._outbox[held.name] = encoded
        if not report.drift:
            return encoded
        plain = fleet.Report.FromString(encoded)
        plain.drift = ""
        return plain.SerializeToString()


def _encoded(held: HeldWork, report: fleet.Report) -> bytes:
    """`report`, with what it is about filled in."""
    statuses = [(status.health, status.status) for status in report.statuses]
    report.hash = report_hash(report.phase, report.message, statuses)
    report.uid, report.revision = held.uid, held.revision
    return report.SerializeToString()


class _Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Manifest(msgspec.Struct):
    apiVersion: str = ""
    kind: str = ""
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_manifests = msgspec.json.Decoder(_Manifest)


def ref_of(manifest: bytes) -> Ref | None:
    """The object that a manifest is about; None for what is not an object's JSON."""
    try:
        parsed = _manifests.decode(manifest)
    except msgspec.DecodeError:
        return None
    return Ref(parsed.apiVersion, parsed.kind, parsed.metadata.namespace, parsed.metadata.name)


def _is_stale(held: HeldWork, revision: int, epoch: int, store_id: str) -> bool:
    """An old hub cannot undo a newer decision; a hub that started later on the same store can."""
    return held.store_id == store_id and revision < held.revision and epoch <= held.epoch


def _last(held: HeldWork) -> fleet.Report:
    return fleet.Report.FromString(held.report)


def _note(changed: Changed, row: HeldWork) -> None:
    changed.deleted.pop(row.name, None)
    changed.rows[row.name] = row
