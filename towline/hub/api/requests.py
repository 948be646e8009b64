"""From an authorized request to its answer: the verbs of resources, on what the URL names.

`Call` is a request without HTTP; `Reply` is its answer. The server turns one into the other; simulated members and
tests may do so without a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from towline.hub.api import admission, bodies, claims, deletes, paths, reads, reviews, scale, status, writes
from towline.hub.api.bodies import Accepted
from towline.hub.api.deletes import DeleteOptions
from towline.hub.api.discovery import VIRTUAL
from towline.hub.api.engine import Engine
from towline.hub.api.paths import Attributes
from towline.hub.api.user import User
from towline.hub.api.writes import Options, Patch, Written
from towline.kube.kinds import Kind
from towline.kube.objects import Object

_MANAGER_BYTES_MAX = 128
_VALIDATIONS = ("Ignore", "Warn", "Strict")
_ANSWERED_WITH_THE_OBJECT = frozenset(
    {
        "services",
        "serviceaccounts",
        "podtemplates",
        "persistentvolumes",
        "persistentvolumeclaims",
        "resourcequotas",
    }
)
"""Deletions that Kubernetes answers with the object as it was last, and not with a Status."""


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


@dataclass(slots=True)
class Reply:
    body: bytes
    code: int = 200
    content_type: str = bodies.JSON
    warnings: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


async def answer(engine: Engine, call: Call, authorize: reviews.Authorize) -> Reply:
    """Every verb but watch. Raises StatusError."""
    at = call.attributes
    accept = bodies.accepted(call.accept)
    if (at.group, at.version) in VIRTUAL:
        virtual = dict(VIRTUAL[at.group, at.version]).get(at.resource)
        if virtual is not None:
            if at.verb != "create" or at.name:
                raise status.method_not_allowed(f"{at.resource}.{at.group} can only be created")
            obj = bodies.decode_object(call.body, call.content_type)
            return Reply(orjson.dumps(reviews.review(virtual, obj, call.user, authorize)), 201)
    kind = kind_of(engine, at)
    reply = await _VERBS[at.verb](engine, kind, call, accept)
    if accept.yaml:
        reply.body = reads.as_text(reply.body, accept)
        reply.content_type = bodies.YAML
    return reply


def kind_of(engine: Engine, at: Attributes) -> Kind:
    """The row that a URL names, with its scope, verb and subresource checked. Raises 404, 405."""
    kind = engine.kinds.resource(at.group, at.version, at.resource)
    if kind is None or (at.namespace and not kind.namespaced and at.resource != "namespaces"):
        raise status.unknown_resource()
    if at.subresource:
        offered = (at.subresource == "status" and kind.status) or (
            at.subresource == "scale" and kind.scale is not None
        )
        finalize = at.subresource == "finalize" and (kind.group, kind.plural) == claims.NAMESPACES
        if not (offered or finalize):
            raise status.unknown_resource()
        if at.verb not in (("update",) if finalize else ("get", "update", "patch")):
            raise status.verb_not_supported(kind, at.verb)
    elif at.verb not in kind.verbs:
        raise status.verb_not_supported(kind, at.verb)
    if kind.namespaced and not at.namespace and at.verb in ("create", "get", "update", "patch", "delete"):
        if at.verb == "create":
            raise status.bad_request("an empty namespace may not be set during creation")
        raise status.unknown_resource()
    return kind


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
    deleted = await deletes.delete(engine, kind, kind.key(at.namespace, at.name), _delete_options(call))
    if deleted.gone and kind.qualified not in _ANSWERED_WITH_THE_OBJECT:
        body = orjson.dumps(status.success(kind, deleted.name, deleted.uid))
        return Reply(body, warnings=deleted.warnings)
    return Reply(reads.as_form(deleted.value, accept), warnings=deleted.warnings)


async def _delete_collection(engine: Engine, kind: Kind, call: Call, accept: Accepted) -> Reply:
    chosen = reads.selection(kind, call.attributes, call.query)
    options = _delete_options(call)
    entries = reads.select(engine, kind, chosen)
    values = await deletes.delete_collection(engine, kind, entries, options)
    return Reply(reads.plain_list(engine, kind, engine.source(kind).revision, values))


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
    return Options(manager or manager_of(call.user_agent), dry_run, validation, force, call.user, sent)


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
    return replace(deletes.delete_options(call.query, body), user=call.user)
