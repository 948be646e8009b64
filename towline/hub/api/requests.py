"""From an authorized request to its answer: the verbs of resources, on what the URL names.

`Call` is a request without HTTP; `Reply` is its answer. The server turns one into the other; simulated members and
tests may do so without a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from towline.hub.api import (
    admission,
    bodies,
    claims,
    deletes,
    paths,
    reads,
    scale,
    status,
    writes,
)
from towline.hub.api.actions import Action
from towline.hub.api.bodies import Accepted
from towline.hub.api.deletes import DeleteOptions
from towline.hub.api.engine import Engine
from towline.hub.api.paths import Attributes
from towline.hub.api.user import User
from towline.hub.api.writes import Options, Patch, Written
from towline.kube.kinds import Kind
from towline.kube.objects import Object

_MANAGER_BYTES_MAX = 128
_VALIDATIONS = ("Ignore", "Warn", "Strict")


@dataclass(slots=True)
class Call:
    """One request about resources. `body` is read already; `user_agent` names the field manager of who names none."""

    user: User
    attributes: Attributes
    query: Mapping[str, str]
    accept: str = ""
    content_type: str = ""
    user_agent: str = ""
    body: bytes = b""
    annotations: dict[str, str] = field(default_factory=dict)
    """What admission tells the audit log."""


@dataclass(slots=True)
class Reply:
    body: bytes
    code: int = 200
    content_type: str = bodies.JSON
    warnings: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


async def answer(engine: Engine, call: Call) -> Reply:
    """Every verb but watch. Raises StatusError."""
    at = call.attributes
    accept = bodies.accepted(call.accept, at.verb)
    action = engine.actions.get((at.group, at.resource, at.subresource))
    if action is not None:
        reply = await _act(engine, action, call)
    else:
        reply = await _done(engine, kind_of(engine, at), call, accept)
    if accept.yaml:
        reply.body = reads.as_yaml(reply.body)
        reply.content_type = bodies.YAML
    return reply


def failed(error: status.StatusError, accept: str) -> Reply:
    """The answer that tells an error, as YAML to those who read YAML."""
    reply = Reply(error.encoded(), error.code, warnings=error.warnings, headers=error.headers)
    with suppress(status.StatusError):  # what cannot be answered is told in JSON
        if bodies.accepted(accept).yaml:
            reply.body, reply.content_type = reads.as_yaml(reply.body), bodies.YAML
    return reply


async def _done(engine: Engine, kind: Kind, call: Call, accept: Accepted) -> Reply:
    """What a verb answers; of a deprecated version with its warning, also where it fails."""
    try:
        reply = await _VERBS[call.attributes.verb](engine, kind, call, accept)
    except status.StatusError as error:
        if kind.deprecation:
            error.warnings = (kind.deprecation, *error.warnings)
        raise
    if kind.deprecation:
        reply.warnings = (kind.deprecation, *reply.warnings)
    return reply


def kind_of(engine: Engine, at: Attributes) -> Kind:
    """The row that a URL names, with its scope, verb and subresource checked. Raises 404, 405."""
    kind = _parent(engine, at)
    if at.subresource:
        offered = (at.subresource == "status" and kind.status) or (
            at.subresource == "scale" and kind.scale is not None
        )
        finalize = at.subresource == "finalize" and (kind.group, kind.plural) == claims.NAMESPACES
        if not (offered or finalize):
            error = status.not_found(kind, at.name) if kind.custom else status.unknown_resource()
            error.warnings = (kind.deprecation,) if kind.deprecation else ()
            raise error
        if at.verb not in (("update",) if finalize else ("get", "update", "patch")):
            raise status.verb_not_supported(kind, at.verb)
    elif at.verb not in kind.verbs:
        raise status.verb_not_supported(kind, at.verb)
    if kind.namespaced and not at.namespace and at.verb in ("create", "get", "update", "patch", "delete"):
        if at.verb == "create":
            raise status.bad_request("an empty namespace may not be set during creation")
        raise status.unknown_resource()
    return kind


def _parent(engine: Engine, at: Attributes) -> Kind:
    """The row of the resource in a URL, whatever the subresource. Raises 404."""
    kind = engine.kinds.resource(at.group, at.version, at.resource)
    if kind is None or (at.namespace and not kind.namespaced and at.resource != "namespaces"):
        raise status.unknown_resource()
    return kind


async def _act(engine: Engine, action: Action, call: Call) -> Reply:
    at, kind = call.attributes, action.kind
    if at.subresource:
        _parent(engine, at)
    elif at.version != kind.version or at.name or bool(at.namespace) != kind.namespaced:
        raise status.unknown_resource()
    if at.verb != "create":
        raise status.method_not_allowed("the server does not allow this method on the requested resource")
    options = write_options(call)
    obj = bodies.decode_object(call.body, call.content_type)
    repeated = _repeated(kind, call, obj, options)
    obj = admission.check_envelope(kind, obj)
    if at.namespace or kind.namespaced:
        obj = claims.in_namespace(replace(kind, namespaced=True), obj, at.namespace)
    prepared = admission.prepare(kind, obj, None, validation=options.validation, now="", uid="")
    acted = await action.act(call.user, at, prepared.object)
    return Reply(orjson.dumps(acted.object), 201, warnings=(*repeated, *prepared.warnings, *acted.warnings))


# --- verbs -----------------------------------------------------------------------------------------------------


async def _get(engine: Engine, kind: Kind, call: Call, accept: Accepted) -> Reply:
    at = call.attributes
    key = kind.key(at.namespace, at.name)
    if at.subresource == "scale":
        return Reply(await scale.get(engine, kind, key))
    return Reply(await reads.get(engine, kind, key, accept, call.query))


async def _list(engine: Engine, kind: Kind, call: Call, accept: Accepted) -> Reply:
    chosen = reads.selection(kind, call.attributes, call.query)
    return Reply(await reads.list_objects(engine, kind, chosen, accept, call.query))


async def _create(engine: Engine, kind: Kind, call: Call, accept: Accepted) -> Reply:
    obj = bodies.decode_object(call.body, call.content_type)
    options = write_options(call)
    repeated = _repeated(kind, call, obj, options)
    written = await writes.create(engine, kind, call.attributes.namespace, obj, options)
    return _written(engine, kind, call, accept, written, repeated)


async def _update(engine: Engine, kind: Kind, call: Call, accept: Accepted) -> Reply:
    at = call.attributes
    obj = bodies.decode_object(call.body, call.content_type)
    key = kind.key(at.namespace, at.name)
    if at.subresource == "scale":
        return await _scaled(scale.update(engine, kind, key, obj, write_options(call)))
    options = write_options(call)
    repeated = _repeated(kind, call, obj, options)
    written = await writes.update(engine, kind, key, obj, options, at.subresource)
    return _written(engine, kind, call, accept, written, repeated)


async def _patch(engine: Engine, kind: Kind, call: Call, accept: Accepted) -> Reply:
    at = call.attributes
    patch = decode_patch(kind, call)
    options = write_options(call, applies=patch.type == "apply")
    key = kind.key(at.namespace, at.name)
    if at.subresource == "scale":
        return await _scaled(scale.patch(engine, kind, key, patch, options))
    written = await writes.patch(engine, kind, key, patch, options, at.subresource)
    return _written(engine, kind, call, accept, written)


async def _delete(engine: Engine, kind: Kind, call: Call, accept: Accepted) -> Reply:
    at = call.attributes
    options = _delete_options(call)
    deleted = await deletes.delete(engine, kind, kind.key(at.namespace, at.name), options)
    warnings = (*_unsaid(kind, options), *deleted.warnings)
    if deleted.gone and not kind.deleted_shown:
        return Reply(orjson.dumps(status.success(kind, deleted.name, deleted.uid)), warnings=warnings)
    code = 202 if options.accepted and not deleted.gone else 200
    return Reply(reads.as_form(deleted.value, accept), code, warnings=warnings)


async def _delete_collection(engine: Engine, kind: Kind, call: Call, accept: Accepted) -> Reply:
    chosen = reads.selection(kind, call.attributes, call.query)
    options = _delete_options(call)
    at, page = await reads.page_of(engine, kind, chosen, call.query)
    values = await deletes.delete_collection(engine, kind, page.entries, options)
    body = reads.plain_list(engine, kind, at, values, page)
    return Reply(body, warnings=_unsaid(kind, options))


def _unsaid(kind: Kind, options: DeleteOptions) -> tuple[str, ...]:
    """The warning to a client that did not say what becomes of dependents."""
    return (kind.cascade_warning,) if kind.cascade_warning and not options.propagation else ()


_VERBS = {
    "get": _get,
    "list": _list,
    "create": _create,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
    "deletecollection": _delete_collection,
}


def _repeated(kind: Kind, call: Call, obj: Object, options: Options) -> tuple[str, ...]:
    """Warnings for fields that the body says twice; 400 under Strict."""
    if options.validation == "Ignore" or bodies.media_type(call.content_type) not in ("", bodies.JSON):
        return ()
    told = tuple(f'duplicate field "{name}"' for name in bodies.repeated_fields(call.body, obj))
    if told and options.validation == "Strict":
        raise admission.Undecodable(kind, f"strict decoding error: {', '.join(told)}")
    return told


def _written(
    engine: Engine, kind: Kind, call: Call, accept: Accepted, written: Written, warnings: tuple[str, ...] = ()
) -> Reply:
    body = reads.as_form(written.value, accept)
    if accept.form == "table":
        body = reads.table_of(engine, kind, written.value, accept, call.query)
    return Reply(body, 201 if written.created else 200, warnings=(*warnings, *written.warnings))


async def _scaled(result: Any) -> Reply:
    body, warnings = await result
    return Reply(body, warnings=warnings)


# --- options ---------------------------------------------------------------------------------------------------


def write_options(call: Call, *, applies: bool = False) -> Options:
    """From the query. Raises 400; an apply must name its manager, and only an apply may force."""
    query = call.query
    kind = f"{call.attributes.verb.capitalize()}Options"
    manager = query.get("fieldManager") or ""
    if not manager and applies:
        raise status.invalid_options(
            kind, "fieldManager", "FieldValueRequired", "is required for apply patch"
        )
    if len(manager.encode()) > _MANAGER_BYTES_MAX:
        told = f"Too long: may not be more than {_MANAGER_BYTES_MAX} bytes"
        raise status.invalid_options(kind, "fieldManager", "FieldValueTooLong", told)
    if not manager.isprintable():
        raise status.invalid_options(kind, "fieldManager", "FieldValueInvalid", "must be printable")
    force = paths.flag(query, "force")
    if force and not applies:
        raise status.invalid_options(
            kind, "force", "FieldValueForbidden", "may not be specified for non-apply patch"
        )
    validation = query.get("fieldValidation") or "Warn"
    if validation not in _VALIDATIONS:
        told = f'Unsupported value: "{validation}": supported values: "Ignore", "Strict", "Warn"'
        raise status.invalid_options(kind, "fieldValidation", "FieldValueNotSupported", told)
    dry_run = deletes.checked_dry_run(kind, [query["dryRun"]] if query.get("dryRun") else [])
    sent: Object = {name: query[name] for name in ("fieldManager", "fieldValidation") if query.get(name)}
    if dry_run:
        sent["dryRun"] = ["All"]
    manager = manager or manager_of(call.user_agent)
    return Options(manager, dry_run, validation, force, call.user, sent, call.annotations)


def manager_of(user_agent: str) -> str:
    """The field manager of a client that names none: its program, as its user agent begins."""
    name = user_agent.partition("/")[0][:_MANAGER_BYTES_MAX]
    return name if name and name.isprintable() else "unknown"


def decode_patch(kind: Kind, call: Call) -> Patch:
    media = bodies.media_type(call.content_type)
    patch_type = bodies.PATCH_TYPES.get(media, "")
    offered = bodies.patch_types(kind)
    if media not in offered:
        raise status.unsupported_media_type(media, offered)
    decode = bodies.decode_yaml if patch_type == "apply" else bodies.decode_json
    return Patch(patch_type, decode(call.body))


def _delete_options(call: Call) -> DeleteOptions:
    body: Object | None = None
    if call.body.strip():
        body = bodies.decode_object(call.body, call.content_type)
    options = deletes.delete_options(call.query, body)
    return replace(options, user=call.user, annotations=call.annotations)
