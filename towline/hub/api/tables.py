"""Objects as clients of tables see them: `meta.k8s.io` Table and PartialObjectMetadata. Pure."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import orjson

from towline.hub.api.versions import as_version
from towline.hub.store.watch import Entry
from towline.kube import jsonpath
from towline.kube.cells import human_duration
from towline.kube.kinds import Column, Kind

NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "The object's name, unique in its namespace.",
    "priority": 0,
}
AGE = Column("Age", "date", ".metadata.creationTimestamp", description="Time since the object was created.")
UNKNOWN_AGE = "<unknown>"


class _Head(msgspec.Struct, frozen=True):
    metadata: msgspec.Raw


_head = msgspec.json.Decoder(_Head)


def partial(value: bytes, version: str = "v1") -> bytes:
    """PartialObjectMetadata from an object's stamped bytes."""
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%b","metadata":%b}' % (
        version.encode(),
        bytes(_head.decode(value).metadata),
    )


def table(
    kind: Kind,
    entries: Iterable[Entry],
    *,
    revision: int,
    now: float,
    version: str = "v1",
    include: str = "Metadata",
    headers: bool = True,
    token: str = "",
    remaining: int | None = None,
) -> bytes:
    """A Table. `include` is includeObject: None, Metadata or Object. Watches send `headers` with the first only.
    `token` and `remaining` are a page's."""
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if token:
        metadata["continue"] = token
        if remaining is not None:
            metadata["remainingItemCount"] = remaining
    names_itself = _names_itself(kind)
    rows = [row(kind, entry, now, version, include, named=not names_itself) for entry in entries]
    head = orjson.dumps(
        {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": metadata,
            "columnDefinitions": definitions(kind) if headers else None,
        }
    )
    return head[:-1] + b',"rows":[' + b",".join(rows) + b"]}"


def columns_of(kind: Kind) -> Sequence[Column]:
    return kind.columns or (AGE,)


def definitions(kind: Kind) -> list[dict[str, Any]]:
    described = [
        {
            "name": column.name,
            # A date's cell is an age in words. A CRD's columns keep the type that the CRD gives them all the same.
            "type": "string" if column.type == "date" and not kind.custom else column.type,
            "format": "name" if column.names else "",
            "description": column.description,
            "priority": column.priority,
        }
        for column in columns_of(kind)
    ]
    return described if _names_itself(kind) else [NAME, *described]


def _names_itself(kind: Kind) -> bool:
    return any(column.names for column in kind.columns)


def row(kind: Kind, entry: Entry, now: float, version: str, include: str, *, named: bool = True) -> bytes:
    """`named`: the object's name stands before all other cells."""
    obj = entry.object
    cells = [_cell(column, obj, now) for column in columns_of(kind)]
    if named:
        cells.insert(0, entry.key.name)
    encoded = orjson.dumps({"cells": cells}, default=str)
    if include == "None":
        return encoded[:-1] + b',"object":null}'
    shown = as_version(entry.value, kind) if include == "Object" else partial(entry.value, version)
    return encoded[:-1] + b',"object":' + shown + b"}"


def _cell(column: Column, obj: Any, now: float) -> Any:
    value = column.value(obj) if callable(column.value) else _found(column.value, obj)
    if column.type == "date":
        return age(value, now) if value is not None else column.absent
    if value is None:
        return None if isinstance(column.value, str) else ""
    if column.type == "string" and isinstance(column.value, str) and not isinstance(value, str):
        return orjson.dumps(value).decode()
    return value


def _found(path: str, obj: Any) -> Any:
    try:
        return jsonpath.first(path, obj)
    except jsonpath.PathError:
        return None


def age(timestamp: Any, now: float) -> str:
    """The time since an RFC 3339 time, as kubectl writes durations."""
    if not isinstance(timestamp, str) or len(timestamp) < 19:
        return UNKNOWN_AGE
    try:
        then = calendar.timegm(time.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return UNKNOWN_AGE
    return human_duration(now - then)
