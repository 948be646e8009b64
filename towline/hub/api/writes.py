"""Writes: create, update and the way of every change, each one commit on the revision it was decided on.

A client that names a resourceVersion gets 409 when the object is at another one. A client that names none is tried again
on the newer object, as in Kubernetes. A write that changes nothing commits nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from towline.hub.api import admission, claims, plugins, status
from towline.hub.api.engine import Engine
from towline.hub.api.plugins import AdmissionRequest
from towline.hub.api.user import SYSTEM, User
from towline.hub.api.versions import as_version, current, object_as_version, stored_form
from towline.hub.store import contract
from towline.hub.store.watch import Entry
from towline.kube import apply as server_side
from towline.kube import jsonpath
from towline.kube.kinds import Kind
from towline.kube.objects import Key, Object, stamp, with_metadata
from towline.kube.schemas import FieldError

GENERATED_NAME_ATTEMPTS = 8

_SYSTEM_METADATA = (
    "uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """How a write is done. `validation` is fieldValidation; `force` belongs to apply; `sent` are the fields of
    CreateOptions or UpdateOptions as the client said them; `annotations` take what plugins tell the audit log."""

    manager: str = "towline"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False
    user: User = SYSTEM
    sent: Object | None = None
    annotations: dict[str, str] | None = None


class Written(NamedTuple):
    """The stored bytes with their resourceVersion (of a dry run: what would be stored)."""

    value: bytes
    created: bool
    warnings: tuple[str, ...]


class Changed(NamedTuple):
    """What a write leads to. `prepared` is what the kind's rules look at; None for the hub's own changes, which none looks at."""

    object: Object
    warnings: tuple[str, ...]
    prepared: admission.Prepared | None = None


# --- create ----------------------------------------------------------------------------------------------------


async def create(
    engine: Engine, kind: Kind, namespace: str, obj: Object, options: Options, name: str = ""
) -> Written:
    """Raises StatusError. `name` is the URL's, for what is created by an apply."""
    obj = claims.in_namespace(kind, admission.check_envelope(kind, obj), namespace)
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise status.bad_request("resourceVersion should not be set on objects to be created")
    prefix = metadata.get("generateName") if not metadata.get("name") else ""
    attempt = 1
    while True:
        if prefix:
            obj = with_metadata(obj, name=admission.generated_name(prefix, engine.new_uid()))
        try:
            return await _create(engine, kind, namespace, obj, options)
        except status.StatusError as error:
            if not prefix or error.reason != "AlreadyExists" or attempt == GENERATED_NAME_ATTEMPTS:
                raise
        attempt += 1


async def _create(engine: Engine, kind: Kind, namespace: str, obj: Object, options: Options) -> Written:
    key = kind.key(namespace, obj["metadata"].get("name") or "")
    claims.refuse(engine, kind, "create", key)
    claims.check_namespace(engine, kind, key)
    prepared = prepare_new(engine, kind, obj, options)
    tracked = server_side.track(
        kind.schema,
        None,
        _without_finalizers(prepared.object)
        if kind.key("", "")[:2] == claims.NAMESPACES
        else prepared.object,
        manager=options.manager,
        now=engine.timestamp(),
        api_version=kind.api_version,
        has_status=kind.status,
    )
    # What the server itself adds belongs to nobody.
    new = with_metadata(prepared.object, managedFields=tracked["metadata"].get("managedFields"))
    return await insert(engine, kind, key, Changed(new, prepared.warnings, prepared), options)


def _without_finalizers(namespace: Object) -> Object:
    spec = {field: value for field, value in namespace["spec"].items() if field != "finalizers"}
    rest = {field: value for field, value in namespace.items() if field != "spec"}
    return {**rest, "spec": spec} if spec else rest


def prepare_new(engine: Engine, kind: Kind, obj: Object, options: Options) -> admission.Prepared:
    """`obj` with the metadata that every new object gets, and its defaults."""
    if kind.status and "status" in obj:
        obj = {field: value for field, value in obj.items() if field != "status"}
    uid = engine.new_uid()
    obj = with_metadata(
        obj,
        uid=uid,
        creationTimestamp=engine.timestamp(),
        generation=1 if kind.generation else None,
        deletionTimestamp=None,
        deletionGracePeriodSeconds=None,
        resourceVersion=None,
        selfLink=None,
    )
    return admission.prepare(kind, obj, None, validation=options.validation, now=engine.timestamp(), uid=uid)


async def insert(engine: Engine, kind: Kind, key: Key, made: Changed, options: Options) -> Written:
    """Admit and commit a new object. Raises StatusError, 409 AlreadyExists among them."""
    request = _request(kind, key, options, made.object, None)
    new, warnings = await _admitted(engine, request, made)
    new = engine.shaped(kind, new, None)
    present = engine.cache.get(key)
    if present is not None:
        raise _exists(kind, present)
    value = stored_form(engine.storage(kind), kind, new)
    if options.dry_run:
        return Written(as_version(value, kind), True, warnings)
    try:
        revision = await engine.commit(contract.Write(key.path(), value, 0))
    except contract.Conflict:
        raise status.already_exists(kind, key.name) from None
    return Written(stamp(as_version(value, kind), revision), True, warnings)


def _exists(kind: Kind, present: Entry) -> status.StatusError:
    error = status.already_exists(kind, present.key.name)
    if present.meta.deletionTimestamp:
        error.message = f"object is being deleted: {error.message}"
    return error


# --- update ----------------------------------------------------------------------------------------------------


async def update(
    engine: Engine, kind: Kind, key: Key, obj: Object, options: Options, subresource: str = ""
) -> Written:
    """Replace the object, or with `subresource` "status" or "finalize" that part of it."""
    obj = claims.check_name(
        claims.in_namespace(kind, admission.check_envelope(kind, obj), key.namespace), key
    )
    named = claims.named_revision(obj)
    if not named and not kind.unconditional:
        told = "Invalid value: 0x0: must be specified for an update"
        error = FieldError("metadata.resourceVersion", "FieldValueInvalid", told)
        refusal = status.invalid(kind, key.name, [error])
        refusal.details["kind"] = (
            kind.plural
        )  # Kubernetes names the resource here, and the kind everywhere else
        raise refusal

    def change(old: Object) -> Changed:
        claims.check_identity(kind, key, old, obj)
        return next_object(engine, kind, old, obj, options, subresource)

    return await change_stored(engine, kind, key, "update", change, options, named, subresource)


# --- the shared way of a change --------------------------------------------------------------------------------


async def change_stored(
    engine: Engine,
    kind: Kind,
    key: Key,
    verb: str,
    change: Callable[[Object], Changed],
    options: Options,
    named: int,
    subresource: str = "",
) -> Written:
    """Read, change, admit, commit; again where somebody else was faster and the client named no revision."""
    claims.refuse(engine, kind, verb, key)
    for _ in range(engine.limits.retries):
        entry = engine.cache.get(key)
        if entry is None:
            raise status.not_found(kind, key.name)
        present = current(kind, entry)
        old = object_as_version(present.object, kind)
        claims.check_revision(engine, kind, key, old, named)
        changed = change(old)
        new, warnings = changed.object, changed.warnings
        if changed.prepared is not None:
            request = _request(kind, key, options, new, old, subresource)
            new, warnings = await _admitted(engine, request, changed)
        settled = present is entry and entry.object["apiVersion"] == engine.storage(kind).api_version
        if new is old and settled:
            return Written(as_version(entry.value, kind), False, warnings)
        value = stored_form(engine.storage(kind), kind, new)
        if options.dry_run:
            return Written(stamp(as_version(value, kind), entry.revision), False, warnings)
        gone = _is_gone(kind, new)
        try:
            write = contract.Write(key.path(), None if gone else value, entry.revision)
            revision = await engine.commit(write)
        except contract.Conflict:
            if named:
                raise status.conflict(kind, key.name) from None
            await engine.moved(key, entry)
            continue
        return Written(stamp(as_version(value, kind), entry.revision if gone else revision), False, warnings)
    raise status.conflict(kind, key.name, "it is changed by others all the time; try again")


def _request(
    kind: Kind, key: Key, options: Options, new: Object, old: Object | None, subresource: str = ""
) -> AdmissionRequest:
    operation = "CREATE" if old is None else "UPDATE"
    return AdmissionRequest(
        options.user,
        kind,
        operation,
        key,
        subresource,
        new,
        old,
        options.dry_run,
        options.sent,
        options.annotations,
    )


async def _admitted(
    engine: Engine, request: AdmissionRequest, changed: Changed
) -> tuple[Object, tuple[str, ...]]:
    """What plugins and the kind's rules let through, and all warnings. Raises StatusError."""
    kind, old, prepared = request.kind, request.old, changed.prepared
    assert prepared is not None, "the hub's own changes are not admitted"
    new, warnings = changed.object, changed.warnings
    if engine.plugins:
        admitted, told = await plugins.admit(engine.plugins, request)
        warnings += told
        if admitted is not None and admitted is not new:
            settled = _settled(engine, kind, old or new, admitted, request.subresource, "Ignore", ())
            new, prepared = settled.object, settled.prepared or prepared
            if old is None and kind.generation:
                new = with_metadata(new, generation=1)  # what changes before the first commit does not count
            request = replace(request, object=new)
    if new is not old:
        admission.check(kind, prepared, old)
    if engine.plugins:
        warnings += await plugins.validate(engine.plugins, request)
    return new, warnings


def next_object(
    engine: Engine,
    kind: Kind,
    old: Object,
    new: Object,
    options: Options,
    subresource: str = "",
    unknown: tuple[str, ...] | None = None,
) -> Changed:
    """What `new`, sent for `old`, becomes in the store; `old` itself when nothing changes. With `unknown` the managers
    are brought up to date already (apply)."""
    settled = _settled(engine, kind, old, new, subresource, options.validation, unknown)
    new = settled.object
    if new is old:
        return settled
    if unknown is None and not (subresource == "scale" and not _replicas_owned(kind, old)):
        new = server_side.track(
            kind.schema,
            old,
            new,
            manager=options.manager,
            now=engine.timestamp(),
            api_version=kind.api_version,
            subresource=subresource,
            has_status=kind.status,
        )
    return settled._replace(object=old if new == old else new)


def _settled(
    engine: Engine,
    kind: Kind,
    old: Object,
    new: Object,
    subresource: str,
    validation: str,
    unknown: tuple[str, ...] | None,
) -> Changed:
    """`new` with what it may not change put back from `old`, prepared, and with its generation."""
    before = old["metadata"]
    if subresource:
        new = _only(subresource, old, new)
    elif kind.status:
        new = _with_field(new, "status", old)
    kept = {field: before[field] for field in (*_SYSTEM_METADATA, "resourceVersion") if field in before}
    metadata = {
        k: v for k, v in new["metadata"].items() if k not in _SYSTEM_METADATA and k != "resourceVersion"
    }
    prepared = admission.prepare(
        kind,
        {**new, "metadata": {**metadata, **kept}},
        old,
        validation=validation,
        now=engine.timestamp(),
        uid=engine.new_uid(),
        unknown=unknown,
    )
    new = engine.shaped(kind, prepared.object, old)
    if new == old:
        return Changed(old, prepared.warnings, prepared)
    if kind.generation and _counts(kind, old, new):
        new = with_metadata(new, generation=int(before.get("generation") or 0) + 1)
    return Changed(new, prepared.warnings, prepared)


def _replicas_owned(kind: Kind, obj: Object) -> bool:
    """Whether the number of replicas has an owner. One without stays so when it is scaled, as in Kubernetes: the next
    apply may set it."""
    assert kind.scale is not None, "only a kind with a scale is scaled"
    path = [f"f:{field}" for field in jsonpath.fields_of(kind.scale.spec_replicas)]
    for entry in obj["metadata"].get("managedFields") or ():
        node = entry.get("fieldsV1")
        for step in path:
            node = (node or {}).get(step)
        if node is not None:
            return True
    return False


def _only(subresource: str, old: Object, new: Object) -> Object:
    """`old` with the one part that a subresource may change."""
    field = {"finalize": "spec", "status": "status"}.get(subresource)
    metadata = dict(old["metadata"])
    if "managedFields" in new["metadata"]:
        metadata["managedFields"] = new["metadata"]["managedFields"]
    changed = {**old, "metadata": metadata}
    if field is None:
        return {**new, "metadata": metadata}
    return _with_field(changed, field, new)


def _with_field(obj: Object, field: str, source: Object) -> Object:
    if field in source:
        return {**obj, field: source[field]}
    return {name: value for name, value in obj.items() if name != field} if field in obj else obj


def _counts(kind: Kind, old: Object, new: Object) -> bool:
    """Whether a change makes another generation: anything outside metadata, and outside status where that is a subresource."""
    if kind.generation_of_annotations and old["metadata"].get("annotations") != new["metadata"].get(
        "annotations"
    ):
        return True
    apart = ("metadata", "status") if kind.status else ("metadata",)
    fields = {*old, *new}.difference(apart)
    return any(old.get(field) != new.get(field) for field in fields)


def _is_gone(kind: Kind, obj: Object) -> bool:
    """Being deleted, and nobody holds it any more."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    return not holds_content(kind, obj)


def holds_content(kind: Kind, obj: Object) -> bool:
    """Namespaces stay until their content is gone: the finalizers in their spec say so."""
    return (kind.group, kind.plural) == claims.NAMESPACES and bool((obj.get("spec") or {}).get("finalizers"))
