"""One object in several versions of its kind.

All versions of a resource share the stored bytes; they differ in apiVersion only (conversion strategy None). What is stored
satisfies the schema of the version it is stored in: fields that only another version knows are lost, as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Sequence

from towline.hub.api.engine import Engine
from towline.hub.store.watch import Entry, ParsedObjects
from towline.kube import schemas
from towline.kube.kinds import Kind
from towline.kube.objects import Object, encode, stamp


def as_version(value: bytes, kind: Kind) -> bytes:
    """Stored bytes with the apiVersion of `kind`."""
    head = b'{"apiVersion":"%b",' % kind.api_version.encode()
    return value if value.startswith(head) else head + value[value.index(b",") + 1 :]


def object_as_version(obj: Object, kind: Kind) -> Object:
    return obj if obj["apiVersion"] == kind.api_version else {**obj, "apiVersion": kind.api_version}


def stored_form(engine: Engine, kind: Kind, obj: Object) -> bytes:
    """The bytes that are stored for `obj`, which is of `kind`'s version."""
    stored = engine.storage(kind)
    if stored is kind or stored.version == kind.version:
        return encode(obj)
    obj = {**obj, "apiVersion": stored.api_version}
    return encode(schemas.default(stored.schema, schemas.prune(stored.schema, obj)) if kind.custom else obj)


def is_outdated(kind: Kind, entry: Entry) -> bool:
    """Whether it was stored before its schema got the defaults that it has."""
    return kind.outdated is not None and entry.revision < kind.outdated.before


def current(kind: Kind, entry: Entry) -> Entry:
    """`entry` with the defaults that its schema got after it was stored."""
    if kind.outdated is None or not is_outdated(kind, entry):
        return entry
    obj = entry.object
    schema = kind.outdated.schemas.get(obj["apiVersion"])
    if schema is None:
        return entry
    filled = schemas.default(schema, schemas.prune(schema, obj))
    if filled is obj:
        return entry
    value = stamp(encode(filled), entry.revision)
    return Entry(entry.key, value, entry.revision, entry.meta, ParsedObjects(0))


def all_current(kind: Kind, entries: Sequence[Entry]) -> Sequence[Entry]:
    return entries if kind.outdated is None else [current(kind, entry) for entry in entries]
