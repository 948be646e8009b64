"""One resource in several versions: stored in one, shown in any. Pure.

Most versions share the stored bytes and differ in apiVersion only (a CRD's conversion strategy None); where they do not,
the kind's row has the conversion. What is stored of a CRD's kind satisfies the schema of the version that it is stored in:
fields that only another version knows are lost, as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Sequence

from towline.hub.store.watch import Entry, ParsedObjects
from towline.kube import schemas
from towline.kube.kinds import Kind
from towline.kube.objects import Object, decode, encode, revision_of, stamp


def as_version(value: bytes, kind: Kind) -> bytes:
    """Stored bytes, stamped or not, as `kind` shows them."""
    head = b'{"apiVersion":"%b",' % kind.api_version.encode()
    if value.startswith(head):
        return value
    if kind.conversion is None:
        return head + value[value.index(b",") + 1 :]
    obj = decode(value)
    shown = encode(kind.conversion.from_stored(obj))
    return stamp(shown, revision_of(obj)) if "resourceVersion" in obj["metadata"] else shown


def object_as_version(obj: Object, kind: Kind) -> Object:
    if obj["apiVersion"] == kind.api_version:
        return obj
    if kind.conversion is not None:
        return kind.conversion.from_stored(obj)
    return {**obj, "apiVersion": kind.api_version}


def as_stored(value: bytes, kind: Kind) -> bytes:
    """What `as_version` made, as tables read it: their columns are of the stored version."""
    if kind.conversion is None:
        return value
    obj = decode(value)
    return stamp(encode(kind.conversion.to_stored(obj)), revision_of(obj))


def stored_form(stored: Kind, kind: Kind, obj: Object) -> bytes:
    """An object of `kind` as the bytes that are kept. `stored` is the row of the version that is stored."""
    if kind.conversion is not None:
        return encode(kind.conversion.to_stored(obj))
    if stored.version == kind.version:
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
