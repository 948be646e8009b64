"""Deletions: preconditions, finalizers, and collections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from towline.hub.api import paths, plugins, status
from towline.hub.api.claims import NAMESPACES, parse_revision, refuse
from towline.hub.api.engine import Engine
from towline.hub.api.plugins import AdmissionRequest, Warnings
from towline.hub.api.user import SYSTEM, User
from towline.hub.api.versions import as_version, object_as_version
from towline.hub.api.writes import holds_content
from towline.hub.store import contract
from towline.hub.store.watch import Entry
from towline.kube import deletion, errors
from towline.kube.deletion import Cascade
from towline.kube.kinds import Kind
from towline.kube.objects import Key, Object, encode, stamp, stamp_again

COLLECTION_CONCURRENCY = 64
IMMORTAL_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
"""As in Kubernetes: too much relies on them."""
_UNSAFE = "ignoreStoreReadErrorWithClusterBreakingPotential"


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a client asks for. A grace period is read and means nothing: no kubelet here would end it, and as in Kubernetes
    a Pod that is on no node goes at once. `accepted`: the client expects 202 while finalizers hold the object, as those do
    that still say `orphanDependents: false`. `sent`: the fields of DeleteOptions as the client said them;
    `annotations` take what plugins tell the audit log."""

    uid: str = ""
    revision: int = 0
    propagation: Cascade = ""
    dry_run: bool = False
    user: User = SYSTEM
    accepted: bool = False
    sent: Object | None = None
    annotations: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """`value` is the object, stamped. `gone` says that it is not there any more; otherwise it waits for its finalizers."""

    value: bytes
    gone: bool
    name: str
    uid: str
    warnings: Warnings = ()


def delete_options(query: Mapping[str, str], body: Object | None) -> DeleteOptions:
    """From a DeleteOptions body, or from the query. Raises 400 and 422."""
    body = body or {}
    if body and body.get("kind", "DeleteOptions") not in ("DeleteOptions", ""):
        raise status.bad_request(f"the body of a delete is DeleteOptions, not {body.get('kind')!r}")
    preconditions = _typed(body, "preconditions", dict) or {}
    dry_run = _typed(body, "dryRun", list) or ([query["dryRun"]] if query.get("dryRun") else [])
    if _typed(body, "gracePeriodSeconds", int) is None:
        paths.number(query, "gracePeriodSeconds")
    policy = _typed(body, "propagationPolicy", str) or query.get("propagationPolicy") or ""
    orphan = _typed(body, "orphanDependents", bool)
    if orphan is None and "orphanDependents" in query:
        orphan = paths.flag(query, "orphanDependents")
    if policy and orphan is not None:
        told = "orphanDependents and deletionPropagation cannot be both set"
        raise status.invalid_options("DeleteOptions", *errors.invalid("propagationPolicy", policy, told))
    if policy and policy not in deletion.POLICIES:
        error = errors.unsupported("propagationPolicy", policy, deletion.POLICIES)
        raise status.invalid_options("DeleteOptions", *error)
    if _typed(body, _UNSAFE, bool) or (_UNSAFE in query and paths.flag(query, _UNSAFE)):
        told = "there is nothing to ignore: what this server cannot read is not served, and its row can only be removed in the store"
        raise status.invalid_options("DeleteOptions", *errors.invalid(_UNSAFE, True, told))
    if not policy and orphan is not None:
        policy = "Orphan" if orphan else "Background"
    return DeleteOptions(
        uid=_typed(preconditions, "uid", str) or "",
        revision=parse_revision(_typed(preconditions, "resourceVersion", str) or "0"),
        propagation=cast(Cascade, policy),
        dry_run=checked_dry_run("DeleteOptions", dry_run),
        accepted=orphan is False,
        sent=_sent(body, query),
    )


def _sent(body: Object, query: Mapping[str, str]) -> Object:
    if body:
        return {field: value for field, value in body.items() if field not in ("kind", "apiVersion")}
    sent: Object = {}
    if query.get("propagationPolicy"):
        sent["propagationPolicy"] = query["propagationPolicy"]
    if (grace := paths.number(query, "gracePeriodSeconds")) is not None:
        sent["gracePeriodSeconds"] = grace
    if query.get("dryRun"):
        sent["dryRun"] = [query["dryRun"]]
    return sent


def checked_dry_run(kind: str, values: Sequence[Any]) -> bool:
    """`dryRun` as a client sends it in options of `kind`: nothing, or All."""
    if any(value != "All" for value in values):
        error = errors.unsupported("dryRun", list(values), ("All",))
        raise status.invalid_options(kind, *error)
    return bool(values)


async def delete(engine: Engine, kind: Kind, key: Key, options: DeleteOptions) -> Deleted:
    """Remove the object, or mark it when finalizers hold it. Raises StatusError."""
    refuse(engine, kind, "delete", key)
    if (kind.group, kind.plural) == NAMESPACES and key.name in IMMORTAL_NAMESPACES:
        raise status.forbidden(kind.plural, kind.group, key.name, "this namespace may not be deleted")
    for _ in range(engine.limits.retries):
        entry = engine.cache.get(key)
        if entry is None:
            raise status.not_found(kind, key.name)
        _check_preconditions(engine, kind, entry, options)
        obj = entry.object
        warnings = (
            await _admitted(engine, kind, key, object_as_version(obj, kind), options)
            if engine.plugins
            else ()
        )
        present, content = entry.meta.finalizers or [], holds_content(kind, obj)
        kept = deletion.finalizers(kind.cascade, present, options.propagation)
        held = bool(kept) or content
        # What is being deleted already may be asked for another policy; a namespace's is settled by the first.
        if held and entry.meta.deletionTimestamp and (content or kept == present):
            return _deleted(kind, entry, entry.value, warnings, gone=False)
        value = encode(_marked(engine, kind, obj, kept)) if held else None
        shown = entry.value if value is None else stamp(value, entry.revision)
        if options.dry_run:
            return _deleted(kind, entry, shown, warnings, gone=not held)
        try:
            revision = await engine.commit(contract.Write(key.path(), value, entry.revision))
        except contract.Conflict:
            if options.revision:
                raise status.conflict(kind, key.name) from None
            await engine.moved(key, entry)
            continue
        shown = stamp_again(shown, entry.revision, revision) if value is None else stamp(value, revision)
        return _deleted(kind, entry, shown, warnings, gone=not held)
    raise status.conflict(kind, key.name, "it is changed by others all the time; try again")


async def delete_collection(
    engine: Engine, kind: Kind, entries: Sequence[Entry], options: DeleteOptions
) -> list[bytes]:
    """Delete `entries`, many at a time; one that went meanwhile is no error. Answers them as they were listed."""
    room = asyncio.Semaphore(COLLECTION_CONCURRENCY)

    async def one(entry: Entry) -> None:
        async with room:
            try:
                await delete(engine, kind, entry.key, options)
            except status.StatusError as error:
                if error.code != 404:
                    raise

    try:
        async with asyncio.TaskGroup() as group:
            for entry in entries:
                group.create_task(one(entry))
    except* status.StatusError as errors:
        raise errors.exceptions[0] from None
    return [as_version(entry.value, kind) for entry in entries]


async def _admitted(engine: Engine, kind: Kind, key: Key, obj: Object, options: DeleteOptions) -> Warnings:
    request = AdmissionRequest(
        options.user,
        kind,
        "DELETE",
        key,
        old=obj,
        dry_run=options.dry_run,
        options=options.sent,
        annotations=options.annotations,
    )
    _, warnings = await plugins.admit(engine.plugins, request)
    return warnings + await plugins.validate(engine.plugins, request)


def _check_preconditions(engine: Engine, kind: Kind, entry: Entry, options: DeleteOptions) -> None:
    if options.uid and options.uid != entry.meta.uid:
        why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {entry.meta.uid}"
        raise _precondition_failed(kind, entry, why)
    if options.revision and options.revision != entry.revision:
        shown = engine.source(kind).get(entry.key)
        if shown is None or shown.revision != options.revision:
            why = (
                f"Precondition failed: ResourceVersion in precondition: {options.revision}, "
                f"ResourceVersion in object meta: {entry.revision}"
            )
            raise _precondition_failed(kind, entry, why)


def _precondition_failed(kind: Kind, entry: Entry, why: str) -> status.StatusError:
    error = status.conflict(kind, entry.key.name, why)
    error.details["kind"] = kind.kind  # the resource in every other conflict
    return error


def _marked(engine: Engine, kind: Kind, obj: Object, kept: Sequence[str]) -> Object:
    is_namespace = (kind.group, kind.plural) == NAMESPACES
    return deletion.marked(
        obj, engine.timestamp(), kept, counted=kind.generation and not is_namespace, namespace=is_namespace
    )


def _deleted(kind: Kind, entry: Entry, value: bytes, warnings: Warnings, *, gone: bool) -> Deleted:
    return Deleted(as_version(value, kind), gone, entry.key.name, entry.meta.uid, warnings)


def _typed(body: Mapping[str, Any], field: str, expected: type) -> Any:
    value = body.get(field)
    if value is None:
        return None
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise status.bad_request(f"{field}: {value!r} is not of type {expected.__name__}")
    return value
