"""Carries the actions of `execution` out on one object of the member: reads it if need be, writes it at most once.

Every write says which object it means (its uid, or that of the last apply), so that what changed in between is
refused by the API server, read again and decided again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from towline.agent import drift, execution
from towline.agent.desired import HeldWork, Ref
from towline.agent.execution import (
    ABSENT,
    UNKNOWN,
    Applied,
    Apply,
    Conflict,
    Delete,
    Mode,
    Nothing,
    Observation,
    Owner,
    Read,
    Release,
    Share,
    Wait,
    shown,
)
from towline.agent.kubernetes import (
    APPLY_PATCH,
    MERGE_PATCH,
    Discovery,
    Member,
    MemberUnreachable,
    Refused,
    Resource,
    missing_path,
    read_object,
)
from towline.agent.limits import Allowance, DeletionBudget
from towline.agent.watcher import Record, Watcher, record_of
from towline.kube.objects import Object, is_deleting, uid_of

_ROUNDS_MAX = 5
"""Read, write, and again when the write was overtaken; an object that still changes is left to the backoff."""


@dataclass(frozen=True, slots=True)
class Done:
    """The object is as wanted. `applied` None: a foreign object that is shared, of which `record` is kept."""

    applied: Applied | None
    record: Record | None = None
    drift: str = ""
    plural: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """The object is not as wanted yet. `lacks_base`: a namespace or a kind is missing that may come at any moment."""

    message: str
    lacks_base: bool = False
    unclear: bool = False
    """The manifest names no object that can be: it may mean one that looks left out, so nothing is let go of."""
    unreachable: bool = False
    """The member could not be asked."""
    retry_after_seconds: float = 0.0


@dataclass(slots=True)
class Counters:
    """What was written, for /metrics."""

    applies: int = 0
    deletes: int = 0
    reads: int = 0
    drifts: int = 0
    failures: int = 0


class Writer:
    """Writes to the member, for one cluster. `apply` and `remove` raise MemberUnreachable and Refused."""

    def __init__(
        self,
        member: Member,
        discovery: Discovery,
        watcher: Watcher,
        cluster: str,
        allowance: Allowance,
        budget: DeletionBudget,
        holds: Callable[[str], bool],
    ) -> None:
        """`holds(name)`: whether this agent holds a Work of that name."""
        self._member = member
        self._discovery = discovery
        self._watcher = watcher
        self._cluster = cluster
        self._allowance = allowance
        self._budget = budget
        self._holds = holds
        self.counters = Counters()

    async def apply(
        self, ref: Ref, body: Object, owner: Owner, mode: Mode, applied: Applied | None
    ) -> Done | Problem:
        """Bring one object to `body` (from `execution.prepared`)."""
        resource = await self._discovery.resource(ref.api_version, ref.kind)
        if resource is None:
            return Problem(f"the member has no {ref.kind} in {ref.api_version}; retrying", lacks_base=True)
        if refusal := self._allowance.refusal(ref, resource.plural, resource.namespaced):
            return Problem(refusal)
        if misplaced := _misplaced(resource, ref):
            return Problem(misplaced, unclear=True)
        self._watcher.need(ref)
        body_hash = execution.body_hash(body)
        observed = await self._look(resource, ref, owner, applied)
        for _ in range(_ROUNDS_MAX):
            action = execution.to_apply(
                body, body_hash, owner, mode, observed, applied,
                cluster=self._cluster, rival_held=self._rival_held(observed, owner),
            )  # fmt: skip
            if isinstance(action, Apply):
                try:
                    return await self._apply(resource, ref, action, body_hash)
                except Refused as refused:
                    if not _overtaken(refused):
                        raise
                observed = await self._read(resource, ref)
            elif isinstance(action, Read):
                observed = await self._read(resource, ref)
            elif isinstance(action, Conflict | Wait):
                return Problem(action.message)
            elif isinstance(action, Share):
                assert not isinstance(observed, execution.Blank)
                obj = observed.object or await read_object(self._member, resource, ref)
                return Done(None, record_of(obj) if obj else None, plural=resource.plural)
            else:
                return Done(applied, plural=resource.plural)
        return Problem(f"{shown(ref)} keeps changing while it is applied; retrying")

    async def remove(
        self, ref: Ref, owner: Owner, preserve: bool, *, was_applied: bool = True
    ) -> Problem | None:
        """Take one object out of the member, or let go of it; None: nothing of ours is left there. `was_applied`: this agent
        knows that it applied the object."""
        resource = await self._discovery.resource(ref.api_version, ref.kind)
        if resource is None or _misplaced(resource, ref):
            return None  # the member answered that it serves no such thing: there is nothing to remove
        refusal = self._allowance.refusal(ref, resource.plural, resource.namespaced)
        record = self._watcher.record(ref)
        observed: Observation = record.seen if record is not None and not preserve else UNKNOWN
        for _ in range(_ROUNDS_MAX):
            action = execution.to_remove(ref, owner, preserve, observed)
            if isinstance(action, Nothing):
                return None
            if refusal and not isinstance(action, Read):
                return Problem(refusal)
            if isinstance(action, Wait):
                self._watcher.need(ref)
                return Problem(action.message)
            if isinstance(action, Read):
                try:
                    observed = await self._read(resource, ref)
                except Refused as refused:
                    if refused.code == 403 and refusal and not was_applied:
                        return None  # it may not even look there: nothing of ours got there
                    raise
                continue
            try:
                if isinstance(action, Release):
                    await self._release(resource, ref, action)
                    return None
                if wait := self._budget.take():
                    return Problem("held by this agent's --deletions-per-minute", retry_after_seconds=wait)
                if await self._delete(resource, ref, action):
                    self._watcher.forget(ref)
                    return None
                self._watcher.need(ref)
                return Problem(f"{shown(ref)} is being deleted in the member")
            except Refused as refused:
                if refused.code != 404 and not _overtaken(refused):
                    raise
            observed = await self._read(resource, ref)
        return Problem(f"{shown(ref)} keeps changing while it is removed; retrying")

    async def _look(self, resource: Resource, ref: Ref, owner: Owner, applied: Applied | None) -> Observation:
        """What the watch knows, where that is enough; a drift and a disappearance are read again, for the words
        and because no record is not absence. So is all while the API server does not answer: a hub that is told of a copy
        may give up another for it."""
        record = self._watcher.record(ref)
        if applied is None:
            return UNKNOWN
        if record is None:
            return await self._read(resource, ref) if self._watcher.synced(ref) else UNKNOWN
        seen = record.seen
        is_ours = (seen.uid, seen.entry, seen.owner, seen.deleting) == (
            applied.uid,
            applied.entry,
            owner,
            False,
        )
        if is_ours and self._watcher.answers(ref):
            return seen
        return await self._read(resource, ref)

    async def _read(self, resource: Resource, ref: Ref) -> Observation:
        self.counters.reads += 1
        obj = await read_object(self._member, resource, ref)
        if obj is None:
            self._watcher.forget(ref)
            return ABSENT
        return execution.see(obj, keep=True)

    async def _apply(self, resource: Resource, ref: Ref, action: Apply, body_hash: bytes) -> Done:
        self.counters.applies += 1
        try:
            answer = await self._member.call(
                "PATCH",
                resource.path(ref.namespace, ref.name),
                {"fieldManager": drift.FIELD_MANAGER, "force": "true"},
                orjson.dumps(action.body),
                content_type=APPLY_PATCH,
            )
        except Refused as refused:
            if missing_path(refused):
                self._discovery.forget(ref.api_version)
            raise
        obj = answer.json()
        record = record_of(obj)
        self._watcher.put(ref, record)
        if action.drift:
            self.counters.drifts += 1
        done = Applied(body_hash, record.seen.uid, record.seen.entry)
        return Done(done, record, action.drift, resource.plural)

    async def _release(self, resource: Resource, ref: Ref, action: Release) -> None:
        await self._member.call(
            "PATCH",
            resource.path(ref.namespace, ref.name),
            {"fieldManager": drift.FIELD_MANAGER},
            orjson.dumps(action.patch),
            content_type=MERGE_PATCH,
        )
        self._watcher.forget(ref)

    async def _delete(self, resource: Resource, ref: Ref, action: Delete) -> bool:
        """True: it is gone already. Kubernetes answers a Status when the object went at once, or, for some kinds
        (Service, ServiceAccount), its last state; an object with a deletionTimestamp is held by finalizers or a
        grace period."""
        self.counters.deletes += 1
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": action.uid},
            "propagationPolicy": "Background",
        }
        answer = await self._member.call(
            "DELETE", resource.path(ref.namespace, ref.name), body=orjson.dumps(options)
        )
        body = answer.json()
        if body.get("kind") == "Status" and body.get("apiVersion") == "v1":
            return bool(body.get("status") == "Success")
        return uid_of(body) == action.uid and not is_deleting(body)

    def _rival_held(self, observed: Observation, owner: Owner) -> bool:
        if isinstance(observed, execution.Blank) or observed.owner is None or observed.owner == owner:
            return False
        return observed.owner.namespace == owner.namespace and self._holds(observed.owner.name)


def _misplaced(resource: Resource, ref: Ref) -> str:
    """Why no object of the member can be `ref`; empty: one can. An API server would take what lies in no namespace
    whatever namespace it names, and its watch would then tell of another object than the one that was meant."""
    if resource.namespaced == bool(ref.namespace):
        return ""
    if resource.namespaced:
        return f"{shown(ref)} has no namespace, which a {ref.kind} needs; set metadata.namespace"
    return f"{shown(ref)} has a namespace, but in this cluster a {ref.kind} lies in none; take metadata.namespace out"


def _overtaken(refused: Refused) -> bool:
    """The object is another one, or another version, than this apply was decided on. A resourceVersion that is not the
    live one is a conflict; a uid that is not counts as the change of an immutable field (422)."""
    causes = refused.details.get("causes") or []
    return refused.code == 409 or (
        refused.code == 422 and any(cause.get("field") == "metadata.uid" for cause in causes)
    )


def parsed(row: HeldWork, owner: Owner) -> tuple[list[tuple[Ref, Object]], list[Problem]]:
    """The manifests of a Work as they are applied, what others need first; and those that are no objects."""
    bodies: list[tuple[Ref, Object]] = []
    bad: list[Problem] = []
    for ordinal, manifest in enumerate(row.manifests):
        try:
            obj = orjson.loads(manifest)
            body = execution.prepared(obj, owner)
            ref = execution.ref_of(body)
        except (ValueError, AttributeError, TypeError):
            bad.append(Problem(f"manifest {ordinal} is not an object", unclear=True))
            continue
        if ref.api_version and ref.kind and ref.name:
            bodies.append((ref, body))
        else:
            bad.append(Problem(f"manifest {ordinal} lacks apiVersion, kind or metadata.name", unclear=True))
    bodies.sort(key=lambda pair: execution.rank(pair[0]))
    return bodies, bad


def problem_of(ref: Ref, error: MemberUnreachable | Refused) -> Problem:
    if isinstance(error, MemberUnreachable):
        return Problem(str(error), unreachable=True)
    lacks_base = error.code == 404 and error.details.get("kind") in (None, "", "namespaces")
    return Problem(f"{shown(ref)}: {error}", lacks_base, retry_after_seconds=error.retry_after_seconds or 0.0)
