"""Server-side apply and field ownership, as Kubernetes defines them.

`apply` merges what one manager wants into the live object, removes what that manager wanted before and nobody
else owns, and refuses to change what others own unless forced. `track` keeps the ownership up to date for
every other write (create, update, patch): whoever changes a value owns it from then on.

Live objects and results share what did not change. An apply that changes nothing returns the live object
itself, so that its caller can leave the commit out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from towline.kube import fields, last_applied, merging
from towline.kube.fields import FieldsError, FieldSet
from towline.kube.objects import Object
from towline.kube.schemas import Schema

UPDATERS_MAX = 10
"""Kubernetes merges the oldest Update entries above this number into one."""

BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT_CHANGES = "ancient-changes"

_NEVER_OWNED = (
    "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink", "managedFields",
    "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip
_IDENTITY: FieldSet = {"f:metadata": {"f:name": {}}}
"""Every applier claims this much, so that metadata outlives the last label that somebody owned in it."""

_NEVER_OWNED_FIELDS = tuple("f:" + field for field in _NEVER_OWNED)


class ApplyError(ValueError):
    """A configuration that cannot be applied to anything (Kubernetes answers 400). `path` names the field, ""
    the whole."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


class ApplyConflict(Exception):
    """Others own fields that this apply would change (409). `conflicts` are (manager, path); `causes` are
    (path, message) for the causes of a Status, whose type is FieldManagerConflict."""

    def __init__(self, found: Sequence[tuple[_Owner, str]]) -> None:
        self.conflicts = [(owner.manager, path) for owner, path in found]
        self.causes = [(path, f"conflict with {owner.described()}") for owner, path in found]
        super().__init__(_conflict_message([(owner.described(), path) for owner, path in found]))


class _Owner(NamedTuple):
    """What tells two entries of managedFields apart. An applier keeps its entry when the version changes."""

    manager: str
    operation: str
    api_version: str
    subresource: str

    def described(self) -> str:
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


_Entry = Mapping[str, Any]


def apply(
    kind_schema: Schema,
    live: Object | None,
    applied: Object,
    *,
    manager: str,
    force: bool,
    now: str,
    api_version: str,
    subresource: str = "",
    has_status: bool = True,
    configuration: Object | None = None,
) -> Object:
    """The object after `manager` applied `applied` to `live` (None: creates it), with managedFields up to
    date.

    `now` is an RFC 3339 time in whole seconds. `applied` should be pruned by the schema first, so that its
    quantities compare equal. `has_status`: the kind has a status subresource, so `.status` counts only with
    subresource "status", and nothing else counts there. `configuration` is what the client sent, for kubectl's annotation.
    Returns `live` itself when nothing changes. Raises
    ApplyConflict, ApplyError.
    """
    wanted = _configuration(applied, subresource, has_status)
    owner = _Owner(manager, "Apply", "", subresource)
    try:
        claimed = fields.of_object(kind_schema, wanted)
    except FieldsError as error:
        raise ApplyError(error.path, error.message) from None
    if live is None:
        created = merging.without_nulls(kind_schema, {**_envelope(applied), **_without_metadata(wanted)})
        entries = [_entry(owner, claimed, api_version, now)] if claimed else []
        return _with_entries(created, entries)
    entries = list(_entries(live))
    if not entries:
        before = _owned(fields.compare(kind_schema, {}, live).added, "", has_status)
        updater = _Owner(BEFORE_FIRST_APPLY, "Update", api_version, "")
        entries = [_entry(updater, before, api_version, now)] if before else []
    at = next((i for i, entry in enumerate(entries) if _owner_of(entry) == owner), None)
    last: FieldSet = entries[at].get("fieldsV1") or {} if at is not None else {}
    merged = merging.merge(kind_schema, live, wanted)
    if last and last != claimed and fields.difference(last, claimed):
        kept = fields.union(claimed, _IDENTITY)
        for i, entry in enumerate(entries):
            if i != at:
                kept = fields.union(kept, entry.get("fieldsV1") or {})
        merged = merging.remove(kind_schema, merged, last, kept)
    if manager == last_applied.MANAGER and configuration is not None and not subresource:
        told = last_applied.refreshed(merged, configuration)
    else:
        told = merged
    if told is live and last == claimed and at is not None and entries[at].get("apiVersion") == api_version:
        return live if entries == _entries(live) else _with_entries(live, _sorted(entries))
    others = [entry for i, entry in enumerate(entries) if i != at]
    if merged is not live:
        others = _taken(kind_schema, live, merged, others, manager=manager, force=force)
    if claimed:
        time = entries[at].get("time", now) if at is not None and merged is live and last == claimed else now
        others.append(_entry(owner, claimed, api_version, time))
    return _with_entries(told, _sorted(others))


def track(
    kind_schema: Schema,
    old: Object | None,
    new: Object,
    *,
    manager: str,
    operation: str = "Update",
    now: str,
    api_version: str,
    subresource: str = "",
    has_status: bool = True,
) -> Object:
    """`new` with managedFields brought up to date for a create (`old` None), update or patch by `manager`.

    The manager gains every field whose value it changed, and others lose these. managedFields given in `new`
    replace those of `old` first (kubectl migrates ownership that way; `[{}]` forgets everything, empty or
    unreadable ones count as not given), except through a subresource. An existing object without
    managedFields is not tracked until somebody applies to it. Raises ApplyError for what is nested too deeply
    to be divided.
    """
    if old is not None and subresource == "" and _is_reset(new):
        return _with_entries(new, [])
    entries = list(_entries_for(old, new, subresource))
    if old is not None and not entries:
        return _with_entries(new, [])
    try:
        difference = fields.compare(kind_schema, old or {}, new)
    except FieldsError as error:
        raise ApplyError(error.path, error.message) from None
    added = _owned(difference.added, subresource, has_status)
    modified = _owned(difference.modified, subresource, has_status)
    changed = fields.union(added, modified)
    if changed or difference.removed:
        gone = fields.union(changed, difference.removed)
        owner = _Owner(manager, operation, "" if operation == "Apply" else api_version, subresource)
        own: FieldSet = {}
        left: list[_Entry] = []
        for entry in entries:
            entry = _reduced(entry, gone)
            if changed and _owner_of(entry) == owner:
                own = fields.union(own, entry.get("fieldsV1") or {})
            elif entry.get("fieldsV1"):
                left.append(entry)
        if changed:
            left.append(_entry(owner, fields.union(own, changed), api_version, now))
        entries = _sorted(_capped(left))
    return _with_entries(new, entries)


# --- what is applied ----------------------------------------------------------------------------------------


def _configuration(applied: Object, subresource: str, has_status: bool) -> Object:
    """The part of a configuration that can be owned."""
    metadata = applied.get("metadata") or {}
    if metadata.get("managedFields"):
        raise ApplyError("metadata.managedFields", "must be nil")
    if subresource == "status":
        return {"status": applied["status"]} if "status" in applied else {}
    skip_status = has_status and not subresource
    wanted = {
        field: value
        for field, value in applied.items()
        if field not in ("apiVersion", "kind", "metadata") and not (skip_status and field == "status")
    }
    metadata = {field: value for field, value in metadata.items() if field not in _NEVER_OWNED}
    if metadata:
        wanted["metadata"] = metadata
    return wanted


def _envelope(applied: Object) -> Object:
    metadata = {
        k: v for k, v in (applied.get("metadata") or {}).items() if k != "managedFields" and v is not None
    }
    return {"apiVersion": applied.get("apiVersion"), "kind": applied.get("kind"), "metadata": metadata}


def _without_metadata(wanted: Object) -> Object:
    return {field: value for field, value in wanted.items() if field != "metadata"}


def _owned(found: FieldSet, subresource: str, has_status: bool) -> FieldSet:
    """`found` without what nobody owns. Its outer nodes are fresh from `compare`, and are changed here."""
    found.pop("f:apiVersion", None)
    found.pop("f:kind", None)
    if subresource == "status":
        return {"f:status": found["f:status"]} if "f:status" in found else {}
    if has_status and not subresource:
        found.pop("f:status", None)
    metadata = found.get("f:metadata")
    if metadata is not None:
        left = {key: node for key, node in metadata.items() if key not in _NEVER_OWNED_FIELDS and key != "."}
        if left:
            found["f:metadata"] = left
        else:
            del found["f:metadata"]
    return found


# --- entries of managedFields -------------------------------------------------------------------------------


def _taken(
    schema: Schema, live: Object, merged: Object, others: list[_Entry], *, manager: str, force: bool
) -> list[_Entry]:
    """The others' entries after the live object became `merged`. Raises ApplyConflict."""
    difference = fields.compare(schema, live, merged)
    changed = fields.union(difference.added, difference.modified)
    if not force:
        disputed = [(entry, fields.intersection(entry.get("fieldsV1") or {}, changed)) for entry in others]
        if manager == last_applied.MANAGER and any(owned for _, owned in disputed):
            agreed = last_applied.still_true(schema, live)
            disputed = [(entry, fields.difference(owned, agreed)) for entry, owned in disputed]
        found = [(_owner_of(entry), path) for entry, owned in disputed for path in fields.paths(owned)]
        if found:
            raise ApplyConflict(found)
    gone = fields.union(changed, difference.removed)
    return [entry for entry in (_reduced(entry, gone) for entry in others) if entry.get("fieldsV1")]


def _reduced(entry: _Entry, gone: FieldSet) -> _Entry:
    before = entry.get("fieldsV1") or {}
    after = fields.difference(before, gone)
    return entry if after is before else {**entry, "fieldsV1": after}


def _conflict_message(found: Sequence[tuple[str, str]]) -> str:
    if len(found) == 1:
        return f"Apply failed with 1 conflict: conflict with {found[0][0]}: {found[0][1]}"
    lines: list[str] = []
    for owner in sorted({owner for owner, _ in found}):
        lines.append(f"conflicts with {owner}:")
        lines += [f"- {path}" for by, path in found if by == owner]
    return f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)


def _entry(owner: _Owner, owned: FieldSet, api_version: str, now: str) -> _Entry:
    entry = {
        "manager": owner.manager,
        "operation": owner.operation,
        "apiVersion": api_version,
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    }
    if owner.subresource:
        entry["subresource"] = owner.subresource
    return entry


def _owner_of(entry: _Entry) -> _Owner:
    operation = entry.get("operation") or ""
    version = "" if operation == "Apply" else entry.get("apiVersion") or ""
    return _Owner(entry.get("manager") or "", operation, version, entry.get("subresource") or "")


def _entries(obj: Object | None) -> Sequence[_Entry]:
    return ((obj or {}).get("metadata") or {}).get("managedFields") or ()


def _is_reset(new: Object) -> bool:
    given = _entries(new)
    return len(given) == 1 and given[0] == {}


def _entries_for(old: Object | None, new: Object, subresource: str) -> Sequence[_Entry]:
    """The entries to start from: those that the client wrote, if it wrote any that can be read, else the
    stored ones."""
    stored, given = _entries(old), _entries(new)
    if subresource or not given or given == stored:
        return stored
    readable: list[_Entry] = []
    for entry in given if isinstance(given, list) else ():
        owned = fields.read(entry.get("fieldsV1") or {}) if isinstance(entry, dict) else None
        if (
            owned is None
            or entry.get("operation") not in ("Apply", "Update")
            or entry.get("fieldsType") != "FieldsV1"
            or not all(
                isinstance(entry.get(field) or "", str)
                for field in ("manager", "apiVersion", "time", "subresource")
            )
        ):
            return stored
        readable.append({**entry, "fieldsV1": owned})
    return readable


def _sorted(entries: Iterable[_Entry]) -> list[_Entry]:
    """Kubernetes' order: appliers first, then by time, manager, version, subresource."""
    return sorted(
        entries,
        key=lambda entry: (
            entry.get("operation") or "",
            entry.get("time") or "",
            entry.get("manager") or "",
            entry.get("apiVersion") or "",
            entry.get("subresource") or "",
        ),
    )


def _capped(entries: list[_Entry]) -> list[_Entry]:
    """At most UPDATERS_MAX Update entries: the oldest become one of ANCIENT_CHANGES per version."""
    updaters = [entry for entry in _sorted(entries) if entry.get("operation") == "Update"]
    surplus = len(updaters) - UPDATERS_MAX
    if surplus <= 0:
        return entries
    oldest = updaters[: surplus + 1]
    left = [entry for entry in entries if not any(entry is old for old in oldest)]
    for version in sorted({entry.get("apiVersion") or "" for entry in oldest}):
        owned: FieldSet = {}
        same = [entry for entry in oldest if (entry.get("apiVersion") or "") == version]
        for entry in same:
            owned = fields.union(owned, entry.get("fieldsV1") or {})
        left.append(
            _entry(_Owner(ANCIENT_CHANGES, "Update", version, ""), owned, version, same[-1].get("time") or "")
        )
    return left


def _with_entries(obj: Object, entries: Sequence[_Entry]) -> Object:
    metadata = obj.get("metadata") or {}
    present = metadata.get("managedFields")
    if (
        present is entries
        or (present == entries and entries)
        or (not present and not entries and present is None)
    ):
        return obj
    metadata = {**metadata}
    if entries:
        metadata["managedFields"] = list(entries)
    else:
        metadata.pop("managedFields", None)
    return {**obj, "metadata": metadata}
