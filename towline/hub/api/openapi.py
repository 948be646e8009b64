"""OpenAPI: `/openapi/v3` with one document a group and version, and `/openapi/v2` in one piece.

kubectl reads types and descriptions (`explain`), merge keys (`apply`) and, from the operations' parameters, whether the server
checks fields and takes dry runs. Documents are rendered when somebody asks, and kept compressed until the kinds change.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from towline.hub.api import openapi_protobuf
from towline.hub.api.bodies import JSON, media_type, patch_types
from towline.hub.api.discovery import Document, group_versions, version
from towline.hub.api.status import not_acceptable
from towline.kube import schemas
from towline.kube.kinds import Kind, KindTable

_REFERENCE_V3 = "#/components/schemas/"
_REFERENCE_V2 = "#/definitions/"
_RENDERING = "1"
"""Part of every hash: to be raised when documents change although kinds do not."""

_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_PARAMETERS: Mapping[str, tuple[str, str]] = {
    "dryRun": ("string", "All: do everything but store the result."),
    "fieldManager": ("string", "Who manages the fields that this write sets."),
    "fieldValidation": ("string", "What to do about unknown fields: Ignore, Warn or Strict."),
    "force": ("boolean", "Take fields over that other managers own."),
    "labelSelector": ("string", "Only objects with these labels."),
    "fieldSelector": ("string", "Only objects with these fields."),
    "limit": ("integer", "At most so many objects."),
    "continue": ("string", "The next part of a list."),
    "resourceVersion": ("string", "The state that is asked for."),
    "resourceVersionMatch": ("string", "How resourceVersion is meant."),
    "timeoutSeconds": ("integer", "How long the request may last."),
    "watch": ("boolean", "Follow changes."),
    "allowWatchBookmarks": ("boolean", "Send bookmarks."),
    "sendInitialEvents": ("boolean", "Begin with the objects that are there."),
    "gracePeriodSeconds": ("integer", "How long the object may take to end."),
    "propagationPolicy": ("string", "What becomes of dependents: Background, Foreground or Orphan."),
    "pretty": ("string", "Indent the answer."),
}
_LIST_PARAMETERS = (
    "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch",
    "timeoutSeconds", "watch", "allowWatchBookmarks", "sendInitialEvents",
)  # fmt: skip


class OpenAPI:
    """The documents by path, gzip-compressed."""

    def __init__(self, kinds: KindTable, created_only: Sequence[Kind] = ()) -> None:
        """`created_only` are rows of what is never stored (actions)."""
        self._kinds = kinds
        self._created_only = created_only
        self._generation = -1
        self._groups: dict[str, list[Kind]] = {}
        self._documents: dict[tuple[str, str], Document] = {}

    def get(self, path: str, accept: str) -> Document | None:
        """None for a path that is not here. Raises 406 where no form fits. May render for a tenth of a second;
        not to be called by two threads at once."""
        if self._generation != self._kinds.generation:
            self._generation = self._kinds.generation
            self._documents.clear()
            self._groups = dict(_by_path(self._rows()))
        name = path.removeprefix("/openapi/").strip("/")
        if name == "v3":
            body = orjson.dumps({"paths": {at: self._link(at, kinds) for at, kinds in self._groups.items()}})
            return Document(body, JSON, _etag(hashlib.sha256(body).hexdigest()))
        if name != "v2" and name.removeprefix("v3/") not in self._groups:
            return None
        form = _form(accept, (JSON, openapi_protobuf.MEDIA_TYPE) if name == "v2" else (JSON,))
        found = self._documents.get((name, form))
        if found is None:
            found = self._documents[name, form] = self._rendered(name, form)
        return found

    def _rendered(self, name: str, form: str) -> Document:
        kinds = self._rows() if name == "v2" else self._groups[name.removeprefix("v3/")]
        document = document_v2(kinds) if name == "v2" else document_v3(kinds)
        body = orjson.dumps(document) if form == JSON else openapi_protobuf.encode(document)
        form_mark = "" if form == JSON else "P"
        return Document(gzip.compress(body, 6), form, _etag(_hash(kinds) + form_mark), compressed=True)

    def _rows(self) -> list[Kind]:
        return [*self._kinds, *self._created_only]

    def _link(self, at: str, kinds: list[Kind]) -> dict[str, str]:
        return {"serverRelativeURL": f"/openapi/v3/{at}?hash={_hash(kinds)}"}


def _form(accept: str, offered: Sequence[str]) -> str:
    """Which of `offered` an Accept header takes; the first for those who take any. Raises 406."""
    for clause in (accept or "*/*").split(","):
        kind = media_type(clause).replace(openapi_protobuf.OLD_NAME, openapi_protobuf.MEDIA_TYPE)
        if kind in offered:
            return kind
        if kind in ("*/*", "application/*"):
            return offered[0]
    raise not_acceptable(offered)


def document_v3(kinds: Iterable[Kind]) -> dict[str, Any]:
    """The document of one group and version."""
    kinds = list(kinds)
    builtin = schemas.definitions()
    paths: dict[str, Any] = {}
    wanted: dict[str, Any] = {}
    for kind in kinds:
        name = definition_name(kind)
        wanted[name] = _marked(kind, builtin)
        paths.update(_paths(kind, name))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Towline", "version": version()["gitVersion"]},
        "paths": paths,
        "components": {"schemas": _with_references(wanted, builtin)},
    }


def document_v2(kinds: Iterable[Kind]) -> dict[str, Any]:
    """All kinds in Swagger's older words. What these cannot say (alternatives, null) is left out."""
    builtin = schemas.definitions()
    wanted: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for kind in kinds:
        name = definition_name(kind)
        wanted[name] = _marked(kind, builtin)
        for path, item in _paths(kind, name).items():
            paths[path] = {method: _operation_v2(op) for method, op in item.items() if method != "parameters"}
    definitions = {name: _node_v2(node) for name, node in _with_references(wanted, builtin).items()}
    return {
        "swagger": "2.0",
        "info": {"title": "Towline", "version": version()["gitVersion"]},
        "paths": paths,
        "definitions": definitions,
    }


def definition_name(kind: Kind) -> str:
    """`io.k8s.api.apps.v1.Deployment` for a built-in kind, else made of the group backwards."""
    if kind.schema.definition:
        return kind.schema.definition
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def _by_path(kinds: Iterable[Kind]) -> Iterator[tuple[str, list[Kind]]]:
    for group, versions in group_versions(kinds).items():
        for name, rows in versions.items():
            if rows:
                yield (f"apis/{group}/{name}" if group else f"api/{name}"), rows


def _hash(kinds: Iterable[Kind]) -> str:
    """Changes whenever a document of `kinds` may. Built-in definitions change with their version only."""
    digest = hashlib.sha256(f"{_RENDERING} {schemas.source()}".encode())
    for kind in kinds:
        digest.update(repr((kind.group, kind.version, kind.kind, kind.namespaced, kind.status)).encode())
        digest.update(repr(kind.scale).encode())
        if not kind.schema.definition:
            digest.update(orjson.dumps(kind.schema.openapi(), default=str))
    return digest.hexdigest()[:32].upper()


def _etag(digest: str) -> str:
    return f'"{digest}"'


# --- types -----------------------------------------------------------------------------------------------------


def _marked(kind: Kind, builtin: Mapping[str, Any]) -> dict[str, Any]:
    """The kind's definition, with the mark by which clients find it."""
    mark = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    node = builtin.get(kind.schema.definition) or kind.schema.openapi()
    return {**node, "x-kubernetes-group-version-kind": [mark]}


def _with_references(wanted: dict[str, Any], builtin: Mapping[str, Any]) -> dict[str, Any]:
    """`wanted` and every definition that they refer to."""
    found = dict(wanted)
    todo = list(wanted.values())
    while todo:
        for name in set(_references(todo.pop())):
            if name not in found:
                found[name] = builtin.get(name) or {"type": "object"}
                todo.append(found[name])
    return dict(sorted(found.items()))


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _node_v2(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    parts = node.get("allOf")
    if isinstance(parts, list) and len(parts) == 1 and "$ref" in parts[0]:
        described = {"description": node["description"]} if "description" in node else {}
        return {**described, "$ref": _reference_v2(parts[0]["$ref"])}
    if node.get("x-kubernetes-int-or-string"):
        kept = {k: v for k, v in node.items() if k in ("description", "default")}
        return {**kept, "type": "string", "format": "int-or-string"}
    out: dict[str, Any] = {}
    for field, value in node.items():
        if field in ("oneOf", "anyOf", "allOf", "not", "nullable"):
            continue
        if field == "$ref":
            out[field] = _reference_v2(value)
        elif field == "properties":
            out[field] = {name: _node_v2(child) for name, child in value.items()}
        elif field in ("items", "additionalProperties"):
            out[field] = _node_v2(value)
        else:
            out[field] = value
    return out


def _reference_v2(reference: str) -> str:
    return reference.replace(_REFERENCE_V3, _REFERENCE_V2)


# --- operations ------------------------------------------------------------------------------------------------


def _paths(kind: Kind, definition: str) -> dict[str, Any]:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scoped = f"{root}/namespaces/{{namespace}}" if kind.namespaced else root
    collection, item = f"{scoped}/{kind.plural}", f"{scoped}/{kind.plural}/{{name}}"
    paths: dict[str, Any] = {
        collection: _operations(kind, definition, _COLLECTION, in_path=("namespace",)),
        item: _operations(kind, definition, _ITEM, in_path=("namespace", "name")),
    }
    if kind.namespaced:
        everywhere = {method: verb for method, verb in _COLLECTION.items() if method == "get"}
        paths[f"{root}/{kind.plural}"] = _operations(kind, definition, everywhere, in_path=())
    if kind.status:
        paths[f"{item}/status"] = _operations(kind, definition, _SUBRESOURCE, in_path=("namespace", "name"))
    return {path: operations for path, operations in paths.items() if len(operations) > 1}


_COLLECTION = {"get": "list", "post": "create", "delete": "deletecollection"}
_ITEM = {"get": "get", "put": "update", "patch": "patch", "delete": "delete"}
_SUBRESOURCE = {"get": "get", "put": "update", "patch": "patch"}
_ACTIONS = {"create": "post", "update": "put"}
_QUERY: Mapping[str, tuple[str, ...]] = {
    "list": _LIST_PARAMETERS,
    "create": _WRITE_PARAMETERS,
    "update": _WRITE_PARAMETERS,
    "patch": (*_WRITE_PARAMETERS, "force"),
    "delete": ("dryRun", "gracePeriodSeconds", "propagationPolicy"),
    "deletecollection": ("dryRun", "labelSelector", "fieldSelector", "propagationPolicy"),
}


def _operations(
    kind: Kind, definition: str, verbs: Mapping[str, str], *, in_path: tuple[str, ...]
) -> dict[str, Any]:
    named = [n for n in in_path if n != "namespace" or kind.namespaced]
    operations: dict[str, Any] = {
        "parameters": [
            {"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in named
        ]
    }
    for method, verb in verbs.items():
        if verb in kind.verbs:
            operations[method] = _operation(kind, definition, verb)
    return operations


def _operation(kind: Kind, definition: str, verb: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE_V3 + definition}
    operation: dict[str, Any] = {
        "parameters": [_parameter(name) for name in _QUERY.get(verb, ())],
        "responses": {"200": {"description": "OK", "content": {JSON: {"schema": schema}}}},
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    }
    if verb in ("create", "update"):
        operation["requestBody"] = {"content": {"*/*": {"schema": schema}}}
    if verb == "patch":
        operation["requestBody"] = {"content": {t: {"schema": {"type": "object"}} for t in patch_types(kind)}}
    return operation


def _parameter(name: str) -> dict[str, Any]:
    of_type, description = _PARAMETERS[name]
    return {"name": name, "in": "query", "description": description, "schema": {"type": of_type}}


def _operation_v2(operation: Mapping[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": p["name"], "in": "query", "description": p["description"], "type": p["schema"]["type"]}
        for p in operation["parameters"]
    ]
    kept = {field: value for field, value in operation.items() if field.startswith("x-")}
    return {**kept, "parameters": parameters, "responses": {"200": {"description": "OK"}}}
