"""What travels: media types, bodies in, and the form of the answer that a client accepts. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Literal, NamedTuple

import orjson
import yaml

from towline.hub.api.status import bad_request, not_acceptable, unsupported_media_type
from towline.kube import protobuf
from towline.kube.kinds import Kind
from towline.kube.objects import Object

JSON = "application/json"
YAML = "application/yaml"
PATCH_TYPES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
META_GROUP = "meta.k8s.io"

_YAML_TYPES = (YAML, "text/yaml", "application/x-yaml", "application/apply-patch+yaml")
_COLONS = re.compile(rb'"\s*:')
_DEPTH_MAX = 250
"""Deeper than any CRD's schema nests, and shallow enough for functions that recurse."""
_YAML_VALUES_MAX = 500_000
"""What a document may grow to by its aliases."""

_PARTIAL_FORMS = {
    "get": ("PartialObjectMetadata",),
    "list": ("PartialObjectMetadataList",),
    "watch": ("PartialObjectMetadata", "PartialObjectMetadataList"),
}

Form = Literal["plain", "table", "partial"]


class Accepted(NamedTuple):
    """How to answer. `form`: the object itself, a server-side Table, or PartialObjectMetadata."""

    form: Form
    version: str = "v1"
    yaml: bool = False


PLAIN = Accepted("plain")


def media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def accepted(header: str, verb: str = "get") -> Accepted:
    """The form in an Accept header that is offered and has the most weight, the first of those. Raises 406 where nothing
    fits what `verb` answers."""
    if not header:
        return PLAIN
    for kind, parameters in clauses(header):
        if kind not in (JSON, "*/*", "application/*", *_YAML_TYPES[:3]):
            continue
        form = parameters.get("as", "")
        as_yaml = kind in _YAML_TYPES
        if not form:
            return Accepted("plain", yaml=True) if as_yaml else PLAIN
        if parameters.get("g") != META_GROUP or parameters.get("v") not in ("v1", "v1beta1"):
            continue
        if form == "Table":
            return Accepted("table", parameters["v"], as_yaml)
        if form in _PARTIAL_FORMS.get(verb, _PARTIAL_FORMS["get"]):
            return Accepted("partial", parameters["v"], as_yaml)
    raise not_acceptable((JSON, YAML))


def clauses(header: str) -> list[tuple[str, dict[str, str]]]:
    """The clauses of an Accept header as (media type, parameters), what weighs most first."""
    found = []
    for clause in header.split(","):
        kind, *parameters = clause.split(";")
        found.append((kind.strip().lower(), dict(_parameter(p) for p in parameters if p.strip())))
    return sorted(found, key=_weight, reverse=True)


def _weight(clause: tuple[str, dict[str, str]]) -> float:
    try:
        return float(clause[1].get("q", "1"))
    except ValueError:
        return 1.0


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')


def patch_types(kind: Kind) -> list[str]:
    """The media types of patches that a kind takes. A strategic merge needs the merge keys of Kubernetes' own definitions;
    without these (CRDs, Karmada's kinds) it is refused, as where a CRD defines the kind."""
    strategic = bool(kind.schema.definition) and not kind.custom
    return [media for media, name in PATCH_TYPES.items() if strategic or name != "strategic"]


def decode_object(body: bytes, content_type: str) -> Object:
    """The object in a request's body. Raises 400 with the position of what is malformed, 415 for other encodings."""
    kind = media_type(content_type)
    if kind == protobuf.PROTOBUF:
        try:
            return protobuf.decode(body)
        except protobuf.ProtobufError as error:
            raise bad_request(str(error)) from None
    if kind not in (JSON, "", *_YAML_TYPES):
        raise unsupported_media_type(kind, (JSON, YAML, protobuf.PROTOBUF))
    value = decode_yaml(body) if kind in _YAML_TYPES else decode_json(body)
    if not isinstance(value, dict):
        raise bad_request(f"the body is not an object but {_json_type(value)}")
    return value


def decode_json(body: bytes) -> Any:
    if not body.strip():
        raise bad_request("the body is empty")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(
            f"the body is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    if body.count(b"{") + body.count(b"[") > _DEPTH_MAX:
        _check_tree(value, math.inf)
    return value


def repeated_fields(body: bytes, decoded: Any) -> tuple[str, ...]:
    """Names of fields that a JSON body says twice in one object; the last one counts. `decoded` is what the body was
    decoded to."""
    if len(_COLONS.findall(body)) == len(_COLONS.findall(orjson.dumps(decoded))):
        return ()
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for name, value in items:
            if name in seen:
                found.append(name)
            seen[name] = value
        return seen

    try:
        json.loads(body, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return ()
    return tuple(dict.fromkeys(found))


def decode_yaml(body: bytes) -> Any:
    """YAML, of which JSON is a part: kubectl sends its applied objects as JSON under YAML's name."""
    if body.lstrip()[:1] == b"{":
        try:
            return decode_json(body)
        except Exception:  # YAML's flow mappings look like JSON and are none
            pass
    if not body.strip():
        raise bad_request("the body is empty")
    try:
        value = yaml.load(body, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1} column {mark.column + 1}" if mark else ""
        raise bad_request(f"the body is not YAML: {error.problem}{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise bad_request(f"the body is not YAML: {error}") from None
    _check_tree(value, _YAML_VALUES_MAX)
    try:
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
    except TypeError as error:
        raise bad_request(f"the body has a value that JSON does not know: {error}") from None


def encode_yaml(value: Any) -> bytes:
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=False, sort_keys=False, allow_unicode=True
    )
    return text.encode()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Times stay the text that they are, as in JSON."""

    yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _check_tree(value: Any, values_max: float) -> None:
    todo = [(value, 1)]
    count = 0
    while todo:
        item, depth = todo.pop()
        count += 1
        if depth > _DEPTH_MAX:
            raise bad_request(f"the body is nested more than {_DEPTH_MAX} levels deep")
        if count > values_max:
            raise bad_request("the body grows too large by its aliases")
        if isinstance(item, dict):
            todo += [(child, depth + 1) for child in item.values()]
        elif isinstance(item, list):
            todo += [(child, depth + 1) for child in item]


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    return {list: "a list", str: "a string", bool: "a boolean"}.get(type(value), "a number")
