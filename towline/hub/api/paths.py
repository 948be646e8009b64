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

SUBRESOURCES_OF_NAMESPACE = frozenset({"status", "finalize"})

_ITEM_VERBS = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}


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
    """A boolean query parameter: absent is false, present without a value is true."""
    value = query.get(name)
    if value is None or value in ("false", "False", "0"):
        return False
    if value in ("", "true", "True", "1", "t", "T"):
        return True
    raise bad_request(f"query parameter {name}: {value!r} is not a boolean")


def number(query: Mapping[str, str], name: str) -> int | None:
    """A non-negative integer query parameter; None when absent or empty."""
    value = query.get(name)
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise bad_request(f"query parameter {name}: {value!r} is not a non-negative integer")
    return int(value)


def _resource(
    method: str, path: str, query: Mapping[str, str], group: str, version: str, parts: list[str]
) -> Attributes:
    if parts[0] == "watch" and len(parts) > 1:
        # The old form of a watch, /api/v1/watch/...; the word can be no resource.
        parts, query = parts[1:], {**query, "watch": "true"}
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
    if method in ("GET", "HEAD") and not subresource and flag(query, "watch"):
        verb = "watch"
    return Attributes(verb, path, True, group, version, resource, subresource, namespace, name)


def _refused(method: str, name: str) -> StatusError:
    if method == "OPTIONS":
        return unknown_resource()
    what = "one object" if name else "a collection"
    return method_not_allowed(f"method {method} cannot be used on {what}")
