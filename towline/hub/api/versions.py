"""One resource in several versions: stored in one, shown in any. Pure.

Most versions share the stored bytes and differ in apiVersion only (a CRD's conversion strategy None); where they do not,
the kind's row has the conversion.
"""

from __future__ import annotations

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
    return encode({**obj, "apiVersion": stored.api_version})
