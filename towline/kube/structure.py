"""Schemas as trees of nodes: what patches, server-side apply and validation need to know about a field.

A node is read from OpenAPI v3: a definition of a built-in kind (from the packaged asset), or the structural
schema of a CRD. References are followed when a node is first looked at, so that loading Deployment does not
build the 121 definitions below it, and recursive definitions work.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson

UNSET: Final[Any] = type("Unset", (), {"__repr__": lambda _: "UNSET", "__slots__": ()})()
"""`Schema.default` of a field without a default; to Kubernetes a null is none."""

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
REFERENCE = "#/components/schemas/"

_EMPTY: Mapping[str, Any] = MappingProxyType({})
_LAZY = frozenset(
    {
        "type", "properties", "items", "additional", "required", "list_type", "list_map_keys", "atomic_map",
        "patch_strategy", "patch_merge_key", "preserve_unknown", "int_or_string", "quantity", "nullable",
        "default", "embedded", "node",
    }
)  # fmt: skip


class Schema:
    """One structural node. Attributes are read at first use; a node never changes afterwards.

    `definition` is the name of the definition that the node is or refers to, "" for an inline node.
    """

    __slots__ = (
        *sorted(_LAZY),
        "definition",
        "_source",
        "_definitions",
        "_compiled",
        "_defaulting",
        "_marks",
    )

    ANY: ClassVar[Schema]
    """Accepts everything, keeps everything."""

    if TYPE_CHECKING:
        type: str
        """"object", "array", "string", "integer", "number", "boolean", or "" where several are allowed."""
        properties: Mapping[str, Schema]
        items: Schema | None
        additional: Schema | None
        """The values of a map; None for an object whose fields are all in `properties`."""
        required: frozenset[str]
        list_type: str | None
        """"atomic", "set", "map", or None (not said, which means atomic)."""
        list_map_keys: tuple[str, ...]
        atomic_map: bool
        """Server-side apply treats the whole object as one field."""
        patch_strategy: frozenset[str]
        """Of "merge", "replace", "retainKeys"."""
        patch_merge_key: str | None
        preserve_unknown: bool
        int_or_string: bool
        quantity: bool
        nullable: bool
        default: Any
        """The default, or UNSET."""
        embedded: bool
        """Holds a whole object with apiVersion, kind and metadata."""
        node: Mapping[str, Any]
        """The OpenAPI node with references followed one level."""

    definition: str

    def __init__(self, source: Mapping[str, Any], definitions: _Definitions) -> None:
        self._source = source
        self._definitions = definitions
        self._compiled: Any = None  # the validator, see schemas.validate
        self._marks: Any = None  # what lies below, see schemas
        self._defaulting: Any = None
        self.definition = _reference(source)

    @staticmethod
    def of(openapi: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]] | None = None) -> Schema:
        """The node for `openapi`. References are looked up by their last path segment in `definitions`, then
        among the built-in ones; an unknown reference accepts everything, as a newer server may use newer
        types."""
        return Schema(openapi, _Definitions(definitions or {}, fallback=True))

    @staticmethod
    def of_kind(openapi: Mapping[str, Any] | None) -> Schema:
        """The root node of a kind that a CRD defines: `openapi` with apiVersion, kind and Kubernetes' own
        metadata, whatever `openapi` says about these. None, or a root without fields, is still an object with
        metadata."""
        node = {**(openapi or {"x-kubernetes-preserve-unknown-fields": True})}
        named = ((node.get("properties") or {}).get("metadata") or {}).get("properties")
        if named:  # it may say more about names
            said = {"properties": {"metadata": {"properties": named}}}
            node["allOf"] = [*(node.get("allOf") or ()), said]
        node["type"] = "object"
        node["properties"] = {**(node.get("properties") or {}), **_ENVELOPE}
        return Schema.of(node)

    def child(self, field: str) -> Schema | None:
        """The node of an object's field: a property, a map's value; ANY below a node that keeps unknown
        fields; None for an unknown field."""
        found = self.properties.get(field) or self.additional
        return found if found is not None else (Schema.ANY if self.preserve_unknown else None)

    def openapi(self) -> dict[str, Any]:
        """The node in OpenAPI v3, references as `#/components/schemas/<definition>`. A definition's own body,
        with descriptions, where the node is one; see `definitions()` for what it refers to."""
        if self.definition:
            described = definitions().get(self.definition)
            if described is not None:
                return dict(described)
        return dict(self.node)

    def __repr__(self) -> str:
        return f"Schema({self.definition or self._source.get('type') or 'any'})"

    if not TYPE_CHECKING:  # a slot that was never set arrives here, once

        def __getattr__(self, name):
            if name not in _LAZY:
                raise AttributeError(name)
            self._read()
            return getattr(self, name)

    def _read(self) -> None:
        node, definitions = self._source, self._definitions
        target: Schema | None = None
        if self.definition:
            target = definitions.get(self.definition)
            siblings = {k: v for k, v in node.items() if k not in ("$ref", "allOf")}
            if target is None:
                node = {**siblings, "x-kubernetes-preserve-unknown-fields": True}
            elif target is not self:
                node = {**target.node, **siblings}
        if node.get("x-kubernetes-embedded-resource"):
            node = {**node, "type": "object", "properties": {**(node.get("properties") or {}), **_EMBEDDED}}
            target = None
        self.node = node
        self.type = node.get("type") or ""
        self.required = frozenset(node.get("required") or ())
        self.list_type = node.get("x-kubernetes-list-type")
        self.list_map_keys = tuple(node.get("x-kubernetes-list-map-keys") or ())
        self.atomic_map = node.get("x-kubernetes-map-type") == "atomic"
        self.patch_strategy = frozenset((node.get("x-kubernetes-patch-strategy") or "").split(",")) - {""}
        self.patch_merge_key = node.get("x-kubernetes-patch-merge-key")
        self.int_or_string = bool(node.get("x-kubernetes-int-or-string"))
        self.quantity = node.get("format") == "quantity"
        self.nullable = bool(node.get("nullable"))
        default = node.get("default")
        self.default = UNSET if default is None else default
        self.embedded = bool(node.get("x-kubernetes-embedded-resource"))
        if target is not None and target is not self:
            # share the children, so that each definition's tree exists once
            self.properties, self.items = target.properties, target.items
            self.additional, self.preserve_unknown = target.additional, target.preserve_unknown
            return
        self.properties = {
            field: Schema(child, definitions) for field, child in (node.get("properties") or {}).items()
        }
        items, additional = node.get("items"), node.get("additionalProperties")
        self.items = Schema(items, definitions) if isinstance(items, Mapping) else None
        if isinstance(additional, Mapping):
            self.additional = Schema(additional, definitions)
        else:
            self.additional = Schema.ANY if additional is True else None
        self.preserve_unknown = bool(node.get("x-kubernetes-preserve-unknown-fields")) or (
            not self.type and not self.properties and not self.int_or_string and not self.quantity
        )


class _Definitions:
    """Named nodes, each built once."""

    __slots__ = ("_fallback", "_schemas", "_sources")

    def __init__(self, sources: Mapping[str, Mapping[str, Any]], *, fallback: bool) -> None:
        self._sources = sources
        self._schemas: dict[str, Schema] = {}
        self._fallback = fallback

    def get(self, name: str) -> Schema | None:
        found = self._schemas.get(name)
        if found is None and name in self._sources:
            found = Schema(self._sources[name], self)
            found.definition = found.definition or name  # an alias keeps what it refers to
            self._schemas[name] = found
        if found is None and self._fallback:
            found = _builtin_definitions().get(name)
        return found


_ENVELOPE: Mapping[str, Any] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"$ref": REFERENCE + OBJECT_META},
}


_EMBEDDED: Mapping[str, Any] = {
    **_ENVELOPE,
    "apiVersion": {"type": "string", "pattern": "^([^/]+/)?[^/]+$"},
    "kind": {"type": "string", "pattern": "^[A-Za-z]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?$"},
}


def _reference(node: Mapping[str, Any]) -> str:
    """The definition that `node` refers to: `$ref`, or the one `$ref` in `allOf` that Kubernetes publishes
    where the reference has siblings."""
    reference = node.get("$ref")
    if reference is None:
        parts = node.get("allOf")
        if parts and len(parts) == 1 and isinstance(parts[0], Mapping):
            reference = parts[0].get("$ref")
    return reference.rpartition("/")[2] if isinstance(reference, str) else ""


# --- the built-in kinds -------------------------------------------------------------------------------------


def builtin(name: str) -> Schema:
    """The definition `name`, e.g. `io.k8s.api.apps.v1.Deployment`. Raises KeyError for one that is not
    there."""
    found = _builtin_definitions().get(name)
    if found is None:
        raise KeyError(name)
    return found


def definitions() -> Mapping[str, dict[str, Any]]:
    """All built-in definitions as OpenAPI v3 with descriptions: 600 nodes, 1 MB. Not kept here: the caller
    renders its documents from it and lets go."""
    texts = _asset("kubernetes-descriptions.json.gz")["descriptions"]
    nodes: dict[str, dict[str, Any]] = _asset("kubernetes.json.gz")["definitions"]
    return {name: _described(node, name, texts) for name, node in nodes.items()}


@cache
def source() -> Mapping[str, str]:
    """Where the built-in definitions come from: `source`, `version` (of Kubernetes), `notice`."""
    meta: Mapping[str, str] = _asset("kubernetes.json.gz")["meta"]
    return meta


def _described(node: dict[str, Any], path: str, texts: Mapping[str, str]) -> dict[str, Any]:
    out = dict(node)
    if "properties" in node:
        out["properties"] = {
            field: _described(child, f"{path}/properties/{field}", texts)
            for field, child in node["properties"].items()
        }
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), dict):
            out[keyword] = _described(node[keyword], f"{path}/{keyword}", texts)
    text = texts.get(path)
    if text is not None:
        if "$ref" in out:
            out = {"allOf": [out]}
        out["description"] = text
    return out


@cache
def _builtin_definitions() -> _Definitions:
    return _Definitions(_asset("kubernetes.json.gz")["definitions"], fallback=False)


def _asset(name: str) -> Any:
    return orjson.loads(gzip.decompress(files("towline.kube").joinpath("assets", name).read_bytes()))


Schema.ANY = Schema({"x-kubernetes-preserve-unknown-fields": True}, _Definitions(_EMPTY, fallback=False))
