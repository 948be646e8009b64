"""Objects as rules see them: fields that the schema names, under names that are identifiers; times as times. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2

from towline.kube.cel_types import escaped, is_open
from towline.kube.cells import table
from towline.kube.structure import Schema

_FORMATS = frozenset({"date-time", "date", "duration", "byte"})


def shown_value(schema: Schema, value: Any, *, root: bool = False) -> Any:
    """`value` as rules see it: fields that the schema names, under names that are identifiers; times as times."""
    if isinstance(value, dict):
        return _fields(schema, value, root=root)
    if isinstance(value, list):
        items = schema.items
        return [shown_value(items, item) for item in value] if items is not None else value
    if schema.type == "number" and isinstance(value, int) and not schema.int_or_string:
        return float(value)
    if schema.type == "string" and isinstance(value, str) and schema.node.get("format") in _FORMATS:
        return _formatted(str(schema.node["format"]), value)
    return value


def _fields(schema: Schema, value: Mapping[str, Any], *, root: bool) -> dict[str, Any]:
    if not schema.properties and not root:
        values = schema.additional
        if values is None:
            return {}
        return {key: shown_value(values, item) for key, item in value.items()}
    shown_fields: dict[str, Any] = {}
    for field, item in value.items():
        child = schema.properties.get(field)
        if root and field == "metadata":
            metadata = table(item)
            shown_fields[field] = {k: metadata[k] for k in ("name", "generateName") if k in metadata}
        elif child is not None and (name := escaped(field)) and not is_open(child):
            shown_fields[name] = shown_value(child, item, root=child.embedded)
    return shown_fields


def _formatted(name: str, text: str) -> Any:
    """A timestamp, duration or bytes; the text itself if it is none (the schema's own check has said so)."""
    try:
        if name == "byte":
            return base64.b64decode(text)
        if name == "duration":
            return _duration(text)
        time = timestamp_pb2.Timestamp()
        time.FromJsonString(f"{text}T00:00:00Z" if name == "date" else text)
        return time
    except ValueError:
        return text


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def _duration(text: str) -> Any:
    """`1h30m`."""
    parts = re.findall(r"([0-9.]+)(ms|us|µs|ns|h|m|s)", text)
    if not parts or "".join(n + unit for n, unit in parts) != text.lstrip("+-"):
        raise ValueError(text)
    seconds = sum(float(n) * _UNITS[unit] for n, unit in parts) * (-1 if text.startswith("-") else 1)
    made = duration_pb2.Duration()
    made.FromNanoseconds(round(seconds * 1e9))
    return made
