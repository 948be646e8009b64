"""Built-in kinds in Kubernetes' protobuf, as typed Go clients (`kubectl create namespace`) send them. Only read: every client
that sends it takes JSON back.

A body is four magic bytes and an `Unknown` with apiVersion, kind and the object's own message. The table of field numbers is an
asset (scripts/generate_protobuf.py); types whose JSON is not a message's are below. Pure.
"""

from __future__ import annotations

import base64
import gzip
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from towline.hub.api.status import bad_request
from towline.kube.objects import Object

PROTOBUF = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\0"

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_RUNTIME = "io.k8s.apimachinery.pkg.runtime"
_EXTENSIONS = "io.k8s.apiextensions_apiserver.pkg.apis.apiextensions.v1"
_DEPTH_MAX = 100
_META_KINDS = frozenset({"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "ListOptions"})

_Fields = Mapping[str, list[Any]]


class Malformed(ValueError):
    """Bytes that are not the message that they should be."""


def decode(body: bytes) -> Object:
    """The object in `body`, as JSON would give it. Raises 400."""
    try:
        if not body.startswith(MAGIC):
            raise Malformed("the magic bytes are missing")
        envelope = _message(f"{_RUNTIME}.Unknown", memoryview(body)[4:], 0)
        api_version, kind = envelope.get("apiVersion") or "", envelope.get("kind") or ""
        obj = _message(_type_of(api_version, kind), _raw_of(body), 0)
    except (Malformed, UnicodeDecodeError, orjson.JSONDecodeError, RecursionError) as error:
        raise bad_request(f"the body is not Kubernetes protobuf: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **obj}


def _raw_of(body: bytes) -> memoryview:
    for number, _, value in _wire(memoryview(body)[4:]):
        if number == 2 and isinstance(value, memoryview):
            return value
    return memoryview(b"")


def _type_of(api_version: str, kind: str) -> str:
    asset = _asset()
    if kind in _META_KINDS:
        return f"{_META}.{kind}"
    name = f"{asset['packages'].get(api_version, '')}.{kind}"
    if name not in asset["messages"]:
        raise Malformed(
            f"{kind or 'an object without kind'} of {api_version or 'no apiVersion'} is not known as protobuf; send JSON"
        )
    return name


def _message(name: str, data: memoryview, depth: int) -> Any:
    """Message `name` as JSON."""
    if depth > _DEPTH_MAX:
        raise Malformed("nested too deeply")
    fields: _Fields | None = _asset()["messages"].get(name)
    if fields is None:
        return {}
    special = _SPECIAL.get(name)
    if special is not None:
        return special(data, depth)
    obj: Object = {}
    for number, wire_type, value in _wire(data):
        field = fields.get(str(number))
        if field is None:
            continue
        json_name, of_type, flags = field
        if flags == "m":
            key, item = _map_entry(of_type, value, depth)
            obj.setdefault(json_name, {})[key] = item
        elif flags == "r":
            obj.setdefault(json_name, []).extend(_items(of_type, wire_type, value, depth))
        elif flags == "i":
            obj.update(_message(of_type, _bytes(value), depth + 1))
        else:
            decoded = _value(of_type, value, depth)
            # A zero of a field that JSON leaves out when zero means that nobody said it.
            if decoded is not None and not (flags == "o" and not decoded):
                obj[json_name] = decoded
    return obj


def _map_entry(of_type: str, value: Any, depth: int) -> tuple[str, Any]:
    key, item = "", None
    for number, _, part in _wire(_bytes(value)):
        if number == 1:
            key = _text(part)
        elif number == 2:
            item = _value(of_type, part, depth)
    if item is None:
        item = _value(
            of_type, memoryview(b"") if of_type in ("string", "bytes") or "." in of_type else 0, depth
        )
    return key, item


def _items(of_type: str, wire_type: int, value: Any, depth: int) -> list[Any]:
    if wire_type == 2 and of_type in ("int32", "int64", "uint32", "uint64", "bool"):  # packed
        data, found, at = _bytes(value), [], 0
        while at < len(data):
            number, at = _varint(data, at)
            found.append(_value(of_type, number, depth))
        return found
    return [_value(of_type, value, depth)]


def _value(of_type: str, value: Any, depth: int) -> Any:
    if of_type == "string":
        return _text(value)
    if of_type == "bool":
        return bool(_number(value))
    if of_type in ("int32", "int64"):
        number = _number(value)
        return number - (1 << 64) if number >= 1 << 63 else number
    if of_type in ("uint32", "uint64"):
        return _number(value)
    if of_type == "bytes":
        return base64.b64encode(_bytes(value)).decode()
    if of_type == "double":
        exact = float(struct.unpack("<d", _number(value).to_bytes(8, "little"))[0])
        return int(exact) if exact.is_integer() else exact
    return _message(of_type, _bytes(value), depth + 1)


# --- types with a JSON form of their own -----------------------------------------------------------------------


def _parts(data: memoryview) -> dict[int, Any]:
    return {number: value for number, _, value in _wire(data)}


def _time(data: memoryview, depth: int) -> Any:
    parts = _parts(data)
    if not parts:
        return None
    return _timestamp(parts) + "Z"


def _micro_time(data: memoryview, depth: int) -> Any:
    parts = _parts(data)
    if not parts:
        return None
    return f"{_timestamp(parts)}.{_number(parts.get(2, 0)) // 1000:06d}Z"


def _timestamp(parts: Mapping[int, Any]) -> str:
    seconds = _value("int64", parts.get(1, 0), 0)
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        raise Malformed("a time out of range") from None


def _duration(data: memoryview, depth: int) -> Any:
    return f"{_value('int64', _parts(data).get(1, 0), 0) / 1e9:g}s"


def _quantity(data: memoryview, depth: int) -> Any:
    return _text(_parts(data).get(1, b"0")) or "0"


def _int_or_string(data: memoryview, depth: int) -> Any:
    parts = _parts(data)
    if _number(parts.get(1, 0)):
        return _text(parts.get(3, b""))
    return _value("int32", parts.get(2, 0), 0)


def _json(data: memoryview, depth: int) -> Any:
    raw = _bytes(_parts(data).get(1, b""))
    return orjson.loads(raw) if raw else None


def _list(data: memoryview, depth: int) -> Any:
    return [_text(value) for number, _, value in _wire(data) if number == 1]


def _schema_or_bool(data: memoryview, depth: int) -> Any:
    parts = _parts(data)
    if 2 in parts:
        return _message(f"{_EXTENSIONS}.JSONSchemaProps", _bytes(parts[2]), depth + 1)
    return bool(_number(parts.get(1, 0)))


def _schema_or_array(data: memoryview, depth: int) -> Any:
    name = f"{_EXTENSIONS}.JSONSchemaProps"
    several = [_message(name, _bytes(v), depth + 1) for number, _, v in _wire(data) if number == 2]
    parts = _parts(data)
    return several if several or 1 not in parts else _message(name, _bytes(parts[1]), depth + 1)


def _schema_or_strings(data: memoryview, depth: int) -> Any:
    parts = _parts(data)
    if 1 in parts:
        return _message(f"{_EXTENSIONS}.JSONSchemaProps", _bytes(parts[1]), depth + 1)
    return [_text(value) for number, _, value in _wire(data) if number == 2]


_SPECIAL: Mapping[str, Callable[[memoryview, int], Any]] = {
    f"{_META}.Time": _time,
    f"{_META}.MicroTime": _micro_time,
    f"{_META}.Duration": _duration,
    f"{_META}.FieldsV1": _json,
    f"{_META}.Verbs": _list,
    f"{_RUNTIME}.RawExtension": _json,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": _quantity,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "io.k8s.api.authorization.v1.ExtraValue": _list,
    "io.k8s.api.authentication.v1.ExtraValue": _list,
    "io.k8s.api.certificates.v1.ExtraValue": _list,
    f"{_EXTENSIONS}.JSON": _json,
    f"{_EXTENSIONS}.JSONSchemaPropsOrBool": _schema_or_bool,
    f"{_EXTENSIONS}.JSONSchemaPropsOrArray": _schema_or_array,
    f"{_EXTENSIONS}.JSONSchemaPropsOrStringArray": _schema_or_strings,
}


# --- the wire --------------------------------------------------------------------------------------------------


def _wire(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, value): numbers as int, everything with a length as bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, at = _varint(data, at)
            yield number, wire_type, value
            continue
        if wire_type == 2:
            length, at = _varint(data, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise Malformed(f"wire type {wire_type}")
        end = at + length
        if end > len(data):
            raise Malformed("it ends in the middle of a field")
        part = data[at:end]
        at = end
        yield number, wire_type, part if wire_type == 2 else int.from_bytes(part, "little")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("it ends in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def _bytes(value: Any) -> memoryview:
    if isinstance(value, int):
        raise Malformed("a number where a message should be")
    return memoryview(value)


def _text(value: Any) -> str:
    return str(bytes(_bytes(value)), "utf-8")


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise Malformed("bytes where a number should be")
    return value


@cache
def _asset() -> Mapping[str, Any]:
    """Read when the first typed client comes."""
    path = files("towline.kube").joinpath("assets", "kubernetes-protobuf.json.gz")
    asset: Mapping[str, Any] = orjson.loads(gzip.decompress(path.read_bytes()))
    return asset
