"""What a request asks for: a URL and a method become `Attributes`. Pure; it knows no kinds.

/api/v1/namespaces/shop/configmaps/c          get configmaps "c" in shop
/apis/apps/v1/deployments?watch=1             watch deployments everywhere
/apis/apps/v1/namespaces/shop/deployments/d/scale
/api/v1/namespaces/shop                       get namespaces "shop" (the namespace is its own namespace)
/version                                      not a resource: verb is the method in lower case
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from towline.hub.api.status import StatusError, bad_request, method_not_allowed, unknown_resource
from towline.kube.selectors import SelectorError, parse_fields

SUBRESOURCES_OF_NAMESPACE = frozenset({"status", "finalize"})

_ITEM_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}

_OF_MANY = ("list", "watch", "deletecollection")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What authorization and audit need to know of a request."""

    verb: str
    path: str
    resource_request: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


def attributes(method: str, path: str, query: Mapping[str, str]) -> Attributes:
    """Raises StatusError for a path below /api or /apis that cannot name a resource (404, 405)."""
    parts = [part for part in path.split("/") if part]
    if not parts or parts[0] not in ("api", "apis"):
        return Attributes(method.lower(), path)
    depth = 2 if parts[0] == "api" else 3
    if len(parts) <= depth:
        return Attributes(method.lower(), path)
    group = parts[1] if parts[0] == "apis" else ""
    version = parts[depth - 1]
    return _resource(method, path, query, group, version, parts[depth:])


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean query parameter: false when absent, "false" or "0"; any other value is true, as in Kubernetes."""
    value = query.get(name)
    return value is not None and value.lower() not in ("false", "0")


def number(query: Mapping[str, str], name: str) -> int | None:
    """A non-negative integer query parameter; None when absent or empty."""
    value = query.get(name)
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise bad_request(f"query parameter {name}: {value!r} is not a non-negative integer")
    return int(value)


def limit(query: Mapping[str, str]) -> int:
    """How many objects a page of a list has at most; 0: all of them, as of any negative number."""
    value = query.get("limit") or ""
    return 0 if value[:1] == "-" and value[1:].isdecimal() else number(query, "limit") or 0


def _resource(
    method: str, path: str, query: Mapping[str, str], group: str, version: str, parts: list[str]
) -> Attributes:
    # The old form of a watch, /api/v1/watch/...; the word can be no resource.
    old_watch = parts[0] == "watch" and len(parts) > 1
    if old_watch:
        parts = parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) >= 2:
        namespace = parts[1]
        if len(parts) >= 3 and not (len(parts) == 3 and parts[2] in SUBRESOURCES_OF_NAMESPACE):
            parts = parts[2:]
    resource, name = parts[0], parts[1] if len(parts) > 1 else ""
    subresource = "/".join(parts[2:])
    verbs = _ITEM_VERBS if name else _COLLECTION_VERBS
    verb = verbs.get(method, "create" if name and subresource and method == "POST" else "")
    if not verb:
        raise _refused(method, name)
    if (verb == "list" and flag(query, "watch")) or (
        old_watch and verb in ("get", "list") and not subresource
    ):
        verb = "watch"
    if verb in _OF_MANY and not name:
        name = _selected_name(query)
    return Attributes(verb, path, True, group, version, resource, subresource, namespace, name)


def _selected_name(query: Mapping[str, str]) -> str:
    """The one name that a field selector asks for: who may list one object by its name may ask so."""
    text = query.get("fieldSelector")
    if not text:
        return ""
    try:
        return parse_fields(text).equal_to("metadata.name") or ""
    except SelectorError:
        return ""  # whoever reads the list says so


def _refused(method: str, name: str) -> StatusError:
    if method == "OPTIONS":
        return unknown_resource()
    what = "one object" if name else "a collection"
    return method_not_allowed(f"method {method} cannot be used on {what}")
