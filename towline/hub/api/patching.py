"""Changes that say what shall be different: the patches, and server-side apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from towline.hub.api import admission, claims, status, writes
from towline.hub.api.engine import Engine
from towline.hub.api.writes import Changed, Options, Written
from towline.kube import apply as server_side
from towline.kube import patches, schemas
from towline.kube.kinds import Kind
from towline.kube.objects import Key, Object, with_metadata
from towline.kube.schemas import FieldError


class Patch(NamedTuple):
    """A decoded patch. `type`: json, merge, strategic or apply."""

    type: str
    content: Any


async def patch(
    engine: Engine, kind: Kind, key: Key, patch: Patch, options: Options, subresource: str = ""
) -> Written:
    if patch.type == "apply":
        return await _apply(engine, kind, key, patch.content, options, subresource)

    def change(old: Object) -> Changed:
        obj = claims.check_name(admission.check_envelope(kind, patched(kind, old, patch, key.name)), key)
        if (obj["metadata"].get("namespace") or "") != key.namespace:
            raise status.bad_request("the namespace of the object cannot be changed")
        claims.check_revision(engine, kind, key, old, claims.named_revision(obj))
        claims.check_identity(kind, key, old, obj, patched=True)
        return writes.next_object(engine, kind, old, obj, options, subresource)

    return await writes.change_stored(
        engine, kind, key, "patch", refused_as_patch(change), options, 0, subresource
    )


def refused_as_patch(change: Callable[[Object], Changed]) -> Callable[[Object], Changed]:
    """`change`, where what cannot be read is 422 and not 400: the patch can be read, only what it leads to cannot."""

    def changed(old: Object) -> Changed:
        try:
            return change(old)
        except admission.Undecodable as error:
            raise status.invalid_patch(error.message) from None

    return changed


def patched(kind: Kind, doc: Object, patch: Patch, name: str) -> Object:
    """`doc` with `patch`. Raises 400 for a malformed patch and 422 for one that does not fit."""
    try:
        if patch.type == "json":
            result = patches.json_patch(doc, patch.content)
        elif not isinstance(patch.content, dict):
            raise patches.PatchError("", "the patch is not an object")
        elif patch.type == "merge":
            result = patches.merge_patch(doc, patch.content)
        else:
            result = patches.strategic_merge(kind.schema, doc, patch.content)
    except patches.PatchError as error:
        if error.unprocessable or (patch.type == "json" and isinstance(patch.content, list)):
            told = [FieldError(error.path, "FieldValueInvalid", error.message)]
            raise status.invalid(kind, name, told) from None
        raise status.bad_request(f"the patch cannot be applied: {error}") from None
    if not isinstance(result, dict):
        raise status.bad_request("the patch leaves no object")
    return result


async def _apply(
    engine: Engine, kind: Kind, key: Key, content: Any, options: Options, subresource: str
) -> Written:
    """Server-side apply; creates what is not there."""
    if not isinstance(content, dict):
        raise status.bad_request("the applied configuration is not an object")
    if not content.get("apiVersion") or not content.get("kind"):
        raise status.bad_request("an applied configuration names its apiVersion and kind")
    applied = claims.check_name(
        claims.in_namespace(kind, admission.check_envelope(kind, content), key.namespace), key
    )
    if applied["metadata"].get("managedFields"):
        raise status.bad_request("metadata.managedFields must be nil")
    pruned = schemas.prune(kind.schema, applied)
    # Nobody can own a field that there is not: unlike other writes an apply never drops it.
    if pruned is not applied and (unknown := schemas.unknown_fields(kind.schema, applied)):
        told = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise status.bad_request(f"cannot apply to a {kind.kind}: {told}: field not declared in schema")
    admission.type_errors(kind, pruned)
    applied = _applicable(kind, pruned, subresource)
    named = claims.named_revision(applied)

    def change(old: Object) -> Changed:
        claims.check_identity(kind, key, old, applied, patched=True)
        merged = merge_applied(engine, kind, old, applied, options, subresource, content)
        if merged is old:
            return Changed(old, ())
        return writes.next_object(engine, kind, old, merged, options, subresource, unknown=())

    while True:
        if engine.cache.get(key) is not None:
            try:
                return await writes.change_stored(
                    engine, kind, key, "patch", change, options, named, subresource
                )
            except status.StatusError as error:
                if error.code != 404 or subresource:
                    raise  # otherwise it went meanwhile, and is made again
        if subresource:
            raise status.not_found(kind, key.name)
        if named:
            raise status.conflict(kind, key.name, "the object does not exist at the resourceVersion named")
        if uid := applied["metadata"].get("uid"):
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise status.conflict(kind, key.name, why)
        claims.refuse(engine, kind, "create", key)
        claims.check_namespace(engine, kind, key)
        merged = merge_applied(engine, kind, None, applied, options, "")
        prepared = writes.prepare_new(engine, kind, merged, replace(options, validation="Ignore"))
        try:
            return await writes.insert(
                engine, kind, key, Changed(prepared.object, prepared.warnings, prepared), options
            )
        except status.StatusError as error:
            if error.reason != "AlreadyExists" or options.dry_run:
                raise
            await engine.moved(key, None)


def _applicable(kind: Kind, applied: Object, subresource: str) -> Object:
    """The part of an applied configuration that this resource or subresource takes."""
    if subresource:
        kept = ("apiVersion", "kind", "metadata", subresource)
        return {field: applied[field] for field in kept if field in applied}
    if kind.status and "status" in applied:
        return {field: value for field, value in applied.items() if field != "status"}
    return applied


def merge_applied(
    engine: Engine,
    kind: Kind,
    old: Object | None,
    applied: Object,
    options: Options,
    subresource: str,
    configuration: Object | None = None,
) -> Object:
    """`old` after an apply of `applied`, which came as `configuration`. Raises 409 with the managers, 400."""
    applied = with_metadata(applied, resourceVersion=None, uid=None)
    try:
        return server_side.apply(
            kind.schema,
            old,
            applied,
            manager=options.manager,
            force=options.force,
            now=engine.timestamp(),
            api_version=kind.api_version,
            subresource=subresource,
            has_status=kind.status,
            configuration=configuration,
        )
    except server_side.ApplyConflict as error:
        raise status.apply_conflict(str(error), error.causes) from None
    except server_side.ApplyError as error:
        raise status.bad_request(f"the applied configuration cannot be merged: {error}") from None
