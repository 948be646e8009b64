"""Built-in kinds in Kubernetes' protobuf, as typed Go clients (`kubectl create namespace`) send them. Only read: every client
that sends it takes JSON back.

A body is four magic bytes and an `Unknown` with apiVersion, kind and the object's own message. Nothing is dropped: a kind or a
field number that the tables do not have is refused, and JSON asked for. The numbers come from an asset
(scripts/generate_protobuf.py) and from protobuf_fields.py; types whose JSON is not a message's are below. Pure.
"""

from __future__ import annotations

import base64
import gzip
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from towline.kube.objects import Object
from towline.kube.protobuf_fields import META, PACKAGES, RUNTIME, SHORT, Field, written

PROTOBUF = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\0"

_DEPTH_MAX = 100
_EPOCH = datetime(1970, 1, 1)
_INTEGERS = frozenset({"int32", "int64", "uint32", "uint64"})

_Part = tuple[int, int, Any]
"""(number, wire type, value)"""


class ProtobufError(ValueError):
    """Bytes that are not the message that they should be, or something that is not known here. The text is for the client."""


def decode(body: bytes) -> Object:
    """The object in `body`, as JSON would give it. Raises ProtobufError."""
    try:
        if not body.startswith(MAGIC):
            raise ProtobufError("the magic bytes are missing")
        envelope = _last(_known(f"{RUNTIME}.Unknown", memoryview(body)[4:]))
        if _text(envelope.get(3, b"")):
            raise ProtobufError("its content is encoded")
        said = _message(f"{RUNTIME}.TypeMeta", _bytes(envelope.get(1, b"")), 0)
        api_version, kind = said.get("apiVersion", ""), said.get("kind", "")
        obj = _message(_type_of(api_version, kind), _bytes(envelope.get(2, b"")), 0)
    except (ProtobufError, UnicodeDecodeError, orjson.JSONDecodeError, RecursionError) as error:
        raise ProtobufError(f"the body cannot be read as Kubernetes protobuf: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **obj}


def _type_of(api_version: str, kind: str) -> str:
    """DeleteOptions come under the apiVersion of what they delete."""
    name = f"{META}.{kind}" if kind == "DeleteOptions" else f"{PACKAGES.get(api_version, '')}.{kind}"
    if name not in table():
        raise ProtobufError(
            f"{kind or 'an object without kind'} of {api_version or 'no apiVersion'} is not known in it; send JSON"
        )
    return name


@cache
def table() -> Mapping[str, Mapping[int, Field]]:
    """Message -> number -> field. Read when the first typed client comes."""
    path = files("towline.kube").joinpath("assets", "kubernetes-protobuf.json.gz")
    messages = orjson.loads(gzip.decompress(path.read_bytes()))["messages"]
    return written(
        {
            name: {int(number): Field(*field) for number, field in fields.items()}
            for name, fields in messages.items()
        }
    )


def _known(name: str, data: memoryview) -> list[_Part]:
    fields = table()[name]
    parts = list(_wire(data))
    for number, _, _ in parts:
        if number not in fields:
            raise ProtobufError(f"field {number} of {name} is not known here; send JSON")
    return parts


def _message(name: str, data: memoryview, depth: int) -> Any:
    """Message `name` as JSON."""
    if depth > _DEPTH_MAX:
        raise ProtobufError("it is nested too deeply")
    parts = _known(name, data)
    special = _SPECIAL.get(name)
    if special is not None:
        return special(parts)
    fields = table()[name]
    obj: Object = {}
    for number, wire_type, value in parts:
        field = fields[number]
        if field.form == "map":
            key, item = _map_entry(field.of_type, value, depth)
            obj.setdefault(field.name, {})[key] = item
        elif field.form == "list":
            obj.setdefault(field.name, []).extend(_items(field.of_type, wire_type, value, depth))
        elif field.form == "inline":
            obj.update(_message(field.of_type, _bytes(value), depth + 1))
        else:
            decoded = _value(field.of_type, value, depth)
            if decoded is not None and (decoded or field.zero or field.of_type not in _ZEROS):
                obj[field.name] = decoded
    return obj


_ZEROS: Mapping[str, Any] = {
    **dict.fromkeys(("string", "bytes"), memoryview(b"")),
    **dict.fromkeys(("bool", "double", *_INTEGERS), 0),
}
"""A scalar's zero on the wire."""


def _map_entry(of_type: str, value: Any, depth: int) -> tuple[str, Any]:
    parts = _last(list(_wire(_bytes(value))))
    return _text(parts.get(1, b"")), _value(
        of_type, parts.get(2, _ZEROS.get(of_type, memoryview(b""))), depth
    )


def _items(of_type: str, wire_type: int, value: Any, depth: int) -> list[Any]:
    if wire_type == 2 and (of_type in _INTEGERS or of_type == "bool"):  # packed
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
    if of_type in _INTEGERS:
        return _signed(value) if of_type.startswith("i") else _number(value)
    if of_type == "bytes":
        return base64.b64encode(_bytes(value)).decode()
    if of_type == "double":
        exact = float(struct.unpack("<d", _number(value).to_bytes(8, "little"))[0])
        return int(exact) if exact.is_integer() else exact
    return _message(of_type, _bytes(value), depth + 1)


# --- types with a JSON form of their own -----------------------------------------------------------------------


def _last(parts: list[_Part]) -> dict[int, Any]:
    return {number: value for number, _, value in parts}


def _time(parts: list[_Part]) -> Any:
    """A time that was not said comes as an empty message."""
    if not parts:
        return None
    return _timestamp(parts).isoformat(timespec="seconds") + "Z"


def _micro_time(parts: list[_Part]) -> Any:
    if not parts:
        return None
    return _timestamp(parts).isoformat(timespec="microseconds") + "Z"


def _timestamp(parts: list[_Part]) -> datetime:
    said = _last(parts)
    try:
        return _EPOCH + timedelta(
            seconds=_signed(said.get(1, 0)), microseconds=_signed(said.get(2, 0)) // 1000
        )
    except OverflowError:
        raise ProtobufError("a time is out of range") from None


def _quantity(parts: list[_Part]) -> Any:
    return _text(_last(parts).get(1, b"0")) or "0"


def _int_or_string(parts: list[_Part]) -> Any:
    said = _last(parts)
    if _number(said.get(1, 0)):
        return _text(said.get(3, b""))
    return _signed(said.get(2, 0))


def _json(parts: list[_Part]) -> Any:
    raw = _bytes(_last(parts).get(1, b""))
    return orjson.loads(raw) if raw else None


def _list(parts: list[_Part]) -> Any:
    return [_text(value) for _, _, value in parts]


_SPECIAL: Mapping[str, Callable[[list[_Part]], Any]] = {
    f"{META}.Time": _time,
    f"{META}.MicroTime": _micro_time,
    f"{META}.FieldsV1": _json,
    SHORT["RawExtension"]: _json,
    SHORT["Quantity"]: _quantity,
    SHORT["IntOrString"]: _int_or_string,
    f"{PACKAGES['authentication.k8s.io/v1']}.ExtraValue": _list,
    f"{PACKAGES['authorization.k8s.io/v1']}.ExtraValue": _list,
}


# --- the wire --------------------------------------------------------------------------------------------------


def _wire(data: memoryview) -> Iterator[_Part]:
    """Numbers come as int, everything with a length as bytes."""
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
            raise ProtobufError(f"wire type {wire_type}")
        end = at + length
        if end > len(data):
            raise ProtobufError("it ends in the middle of a field")
        part = data[at:end]
        at = end
        yield number, wire_type, part if wire_type == 2 else int.from_bytes(part, "little")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ProtobufError("it ends in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def _bytes(value: Any) -> memoryview:
    if isinstance(value, int):
        raise ProtobufError("a number where a message should be")
    return memoryview(value)


def _text(value: Any) -> str:
    return str(bytes(_bytes(value)), "utf-8")


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise ProtobufError("bytes where a number should be")
    return value


def _signed(value: Any) -> int:
    number = _number(value)
    return number - (1 << 64) if number >= 1 << 63 else number
