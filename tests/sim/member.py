"""A member cluster's API in a dict: server-side apply's ownership, uids and preconditions, namespaces, other people.

It also knows what an agent must never do, and raises Violation at the write that does it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from towline.agent import execution
from towline.agent.desired import Ref
from towline.agent.drift import FIELD_MANAGER
from towline.agent.execution import Owner
from towline.kube.objects import Object, copy, uid_of


class Unreachable(Exception):
    """The API server does not answer."""


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Violation(AssertionError):
    """Something happened that never may."""


@dataclass
class Member:
    """`may_delete(ref, created_at)` says whether the agent may delete an object that has been there since then."""

    cluster: str
    now: Callable[[], float]
    may_delete: Callable[[str, Ref, float], bool]
    up: bool = True
    objects: dict[Ref, Object] = field(default_factory=dict)
    born: dict[Ref, float] = field(default_factory=dict)
    foreign: dict[Ref, Object] = field(default_factory=dict)
    """What others made, as they made it."""
    events: list[Ref] = field(default_factory=list)
    """Changes that the agent's watch has not told yet."""
    writes: int = 0
    changes: int = 0
    """How often anything in it changed, by whomever."""
    sick: set[str] = field(default_factory=set)
    """Workloads that do not become ready here."""
    _count: int = 0
    _managed: dict[Ref, Owner] = field(default_factory=dict)
    _managed_at: int = -1
    _worked_at: int = -1

    # --- what the agent calls ------------------------------------------------------------------------------------

    def get(self, ref: Ref) -> Object | None:
        self._answer()
        obj = self.objects.get(ref)
        return copy(obj) if obj is not None else None

    def apply(self, body: Object, owner: Owner, *, overwrite: bool) -> Object:
        """Server-side apply, forced, as field manager towline."""
        self._answer()
        self.writes += 1
        ref = execution.ref_of(body)
        live = self.objects.get(ref)
        wanted_uid = body["metadata"].get("uid", "")
        wanted_version = body["metadata"].get("resourceVersion", "")
        if (wanted_uid and wanted_uid != uid_of(live or {})) or (
            wanted_version and wanted_version != (live or {}).get("metadata", {}).get("resourceVersion")
        ):
            raise Refused(409, "the object has changed")
        if live is None:
            if ref.namespace and not self._has_namespace(ref.namespace):
                raise Refused(404, f"namespace {ref.namespace} not found")
        elif ref in self.foreign:
            if not overwrite:
                raise Violation(f"{self.cluster}: {ref} is not ours and was overwritten")
            del self.foreign[ref]
        applied = {k: v for k, v in body.items() if k not in ("apiVersion", "kind", "metadata")}
        applied["metadata"] = {
            k: body["metadata"][k] for k in ("labels", "annotations") if k in body["metadata"]
        }
        self._store(ref, _merged(live, applied, ref))
        stored: Object = copy(self.objects[ref])
        return stored

    def delete(self, ref: Ref, uid: str, owner: Owner) -> None:
        self._answer()
        self.writes += 1
        live = self.objects.get(ref)
        if live is None:
            raise Refused(404, "not found")
        if uid_of(live) != uid:
            raise Refused(409, "the object has changed")
        if ref in self.foreign or execution.owner_of(live) != owner:
            raise Violation(f"{self.cluster}: {ref} is not {owner.name}'s and was deleted")
        if not self.may_delete(self.cluster, ref, self.born[ref]):
            raise Violation(f"{self.cluster}: {ref} was deleted and was wanted all the time")
        self._drop(ref)

    def release(self, ref: Ref, patch: Object, owner: Owner) -> None:
        self._answer()
        self.writes += 1
        live = self.objects.get(ref)
        if live is None:
            raise Refused(404, "not found")
        if execution.owner_of(live) != owner:
            raise Violation(f"{self.cluster}: {ref} is not {owner.name}'s and was released")
        wanted = patch["metadata"]
        if wanted["uid"] != uid_of(live) or wanted["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise Refused(409, "the object has changed")
        kept = copy(live)
        for part in ("labels", "annotations"):
            for key in wanted.get(part, {}):
                kept["metadata"][part].pop(key, None)
        self._store(ref, kept)
        self.foreign[ref] = self.objects[ref]

    # --- what others do ------------------------------------------------------------------------------------------

    def make_foreign(self, body: Object) -> None:
        """Somebody made this object before us."""
        ref = execution.ref_of(body)
        if ref not in self.objects:
            self._store(ref, {**body, "metadata": dict(body["metadata"])})
            self.foreign[ref] = self.objects[ref]

    def tamper(self, ref: Ref, path: tuple[str, ...], value: Any, manager: str = "kubectl-edit") -> None:
        """Somebody writes a field of an object, and owns it from then on."""
        live = copy(self.objects[ref])
        at = live
        for step in path[:-1]:
            at = at.setdefault(step, {})
        if value is None:
            at.pop(path[-1], None)
        else:
            at[path[-1]] = value
        for entry in live["metadata"].get("managedFields") or []:
            _disown(entry["fieldsV1"], path)
        owned: Object = {}
        at = owned
        for step in path:
            at = at.setdefault(f"f:{step}", {})
        entries = live["metadata"].setdefault("managedFields", [])
        entries.append({"manager": manager, "operation": "Update", "fieldsV1": owned})
        self._store(ref, live)
        if ref in self.foreign:
            self.foreign[ref] = self.objects[ref]

    def die(self) -> None:
        """It loses all it had; its people make theirs again."""
        theirs = self.foreign
        self.events += self.objects
        self.changes += 1
        self.objects, self.born, self.foreign = {}, {}, {}
        for body in theirs.values():
            self.make_foreign(body)

    def sicken(self, name: str) -> None:
        """What runs of this workload fails, and what will."""
        self.sick.add(name)
        self.changes += 1
        self.work()

    def cure(self) -> None:
        self.sick.clear()
        self.changes += 1

    def vandalize(self, ref: Ref) -> None:
        """Somebody deletes an object."""
        self._drop(ref)
        self.foreign.pop(ref, None)

    def work(self) -> None:
        """The member's own controllers: workloads become ready."""
        if self._worked_at == self.changes:
            return
        for ref, obj in list(self.objects.items()):
            if ref.kind != "Deployment" or ref in self.foreign:
                continue
            replicas = (obj.get("spec") or {}).get("replicas", 1)
            ready = 0 if ref.name in self.sick else replicas
            status = {
                "observedGeneration": obj["metadata"].get("generation", 1), "replicas": replicas,
                "readyReplicas": ready, "updatedReplicas": replicas, "availableReplicas": ready,
            }  # fmt: skip
            if obj.get("status") != status:
                self._store(ref, {**copy(obj), "status": status})
        self._worked_at = self.changes

    # --- checks --------------------------------------------------------------------------------------------------

    def check_foreign(self) -> None:
        for ref, obj in self.foreign.items():
            if self.objects.get(ref) is not obj:
                raise Violation(f"{self.cluster}: {ref} is not ours and was touched")

    def managed(self) -> dict[Ref, Owner]:
        """Objects that carry our marks, and whose they are."""
        if self._managed_at != self.changes:
            found = ((ref, execution.owner_of(obj)) for ref, obj in self.objects.items())
            self._managed = {ref: owner for ref, owner in found if owner is not None}
            self._managed_at = self.changes
        return self._managed

    # --- inside --------------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        if not self.up:
            raise Unreachable(self.cluster)

    def _has_namespace(self, name: str) -> bool:
        return name == "default" or Ref("v1", "Namespace", "", name) in self.objects

    def _store(self, ref: Ref, obj: Object) -> None:
        self._count += 1
        self.changes += 1
        before = self.objects.get(ref)
        metadata = dict(obj["metadata"])
        if before is None:
            metadata["uid"] = f"{self.cluster}-{self._count}"
            self.born[ref] = self.now()
        same = (
            before is not None
            and before.get("spec") == obj.get("spec")
            and before.get("data") == obj.get("data")
        )
        metadata["generation"] = (before or {}).get("metadata", {}).get("generation", 0) + (0 if same else 1)
        metadata["resourceVersion"] = str(self._count)
        self.objects[ref] = {**obj, "metadata": metadata}
        self.events.append(ref)

    def _drop(self, ref: Ref) -> None:
        self.changes += 1
        self.objects.pop(ref, None)
        self.born.pop(ref, None)
        self.events.append(ref)
        if ref.kind == "Namespace":
            for inside in [inside for inside in self.objects if inside.namespace == ref.name]:
                if inside in self.foreign:
                    raise Violation(f"{self.cluster}: {inside} is not ours and went with its namespace")
                self._drop(inside)


def _merged(live: Object | None, applied: Object, ref: Ref) -> Object:
    """`live` after an apply of `applied`: its fields are ours, what we owned and no longer set goes."""
    merged: Object = copy(live) if live is not None else {
        "apiVersion": ref.api_version, "kind": ref.kind,
        "metadata": {"name": ref.name, **({"namespace": ref.namespace} if ref.namespace else {})},
    }  # fmt: skip
    entries = merged["metadata"].get("managedFields") or []
    ours = next((e for e in entries if e["manager"] == FIELD_MANAGER), None)
    if ours is not None:
        _remove_unset(merged, ours["fieldsV1"], applied)
    fields = _tree(applied)
    for entry in entries:
        if entry is not ours:
            _disown_all(entry["fieldsV1"], fields)
    _overlay(merged, applied)
    entry = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": ref.api_version,
        "fieldsV1": fields,
    }
    merged["metadata"]["managedFields"] = [entry, *(e for e in entries if e is not ours and e["fieldsV1"])]
    return merged


def _tree(value: Any) -> Object:
    if not isinstance(value, dict):
        return {}
    return {f"f:{key}": _tree(inner) for key, inner in value.items()}


def _overlay(target: Object, source: Object) -> None:
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _overlay(target[key], value)
        else:
            target[key] = copy(value)


def _remove_unset(target: Object, fields: Object, applied: Any) -> None:
    for step, below in fields.items():
        key = step.removeprefix("f:")
        if not isinstance(applied, dict) or key not in applied:
            if below and isinstance(target.get(key), dict):
                _remove_unset(target[key], below, None)
                if not target[key]:
                    del target[key]
            else:
                target.pop(key, None)
        elif isinstance(target.get(key), dict):
            _remove_unset(target[key], below, applied[key])


def _disown(fields: Object, path: tuple[str, ...]) -> None:
    step = f"f:{path[0]}"
    if step not in fields:
        return
    if len(path) > 1:
        _disown(fields[step], path[1:])
    if len(path) == 1 or not fields[step]:
        del fields[step]


def _disown_all(fields: Object, taken: Object) -> None:
    for step in list(fields):
        if step not in taken:
            continue
        if taken[step] and fields[step]:
            _disown_all(fields[step], taken[step])
        if not taken[step] or not fields[step]:
            fields.pop(step)
