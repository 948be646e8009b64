"""What a write claims about its object, and whether the server goes along: the namespace and name in the URL, the uid and
resourceVersion that the client saw, and objects that nobody may write.
"""

from __future__ import annotations

from towline.hub.api import status
from towline.hub.api.engine import Engine
from towline.kube import errors
from towline.kube.kinds import Kind
from towline.kube.objects import Key, Object, with_metadata

NAMESPACES = ("", "namespaces")


def in_namespace(kind: Kind, obj: Object, namespace: str) -> Object:
    """`obj` in the request's namespace. Raises 400 where it names another one."""
    given = obj["metadata"].get("namespace") or ""
    if not kind.namespaced:
        return with_metadata(obj, namespace=None) if "namespace" in obj["metadata"] else obj
    if given == namespace:
        return obj
    if given:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return with_metadata(obj, namespace=namespace)


def check_namespace(engine: Engine, kind: Kind, key: Key) -> None:
    """404 or 403 unless objects may be created in the key's namespace."""
    if not kind.namespaced:
        return
    namespace = engine.cache.get(Key(*NAMESPACES, "", key.namespace))
    if namespace is None:
        raise status.StatusError(
            404,
            "NotFound",
            f'namespaces "{key.namespace}" not found',
            {"name": key.namespace, "kind": "namespaces"},
        )
    if namespace.meta.deletionTimestamp:
        raise status.namespace_terminating(kind, key.name, key.namespace)


def refuse(engine: Engine, kind: Kind, verb: str, key: Key) -> None:
    """405 for writes of objects that are computed."""
    refusal = engine.refusals.get(kind.resource)
    why = refusal(verb, key) if refusal is not None else None
    if why is not None:
        raise status.method_not_allowed(why, {"name": key.name, "group": kind.group, "kind": kind.plural})


def check_name(obj: Object, key: Key) -> Object:
    """`obj` with the URL's name. Raises 400 where it says another one."""
    name = obj["metadata"].get("name")
    if not name:
        return with_metadata(obj, name=key.name)
    if name != key.name:
        raise status.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({key.name})"
        )
    return obj


def check_identity(kind: Kind, key: Key, old: Object, new: Object, *, patched: bool = False) -> None:
    """409 where the client means an object of the same name that is gone; 422 where it says so in a patch: to
    Kubernetes that changes a field that cannot change."""
    uid, actual = new["metadata"].get("uid"), old["metadata"].get("uid")
    if uid and uid != actual:
        if patched:
            raise status.invalid(kind, key.name, [errors.invalid("metadata.uid", uid, errors.IMMUTABLE)])
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
        raise status.conflict(kind, key.name, why)


def named_revision(obj: Object) -> int:
    """The resourceVersion in what the client sent; 0 for none."""
    return parse_revision(obj["metadata"].get("resourceVersion") or "0")


def parse_revision(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise status.bad_request(
            f'Invalid value: "{text}": a resourceVersion is a number that this server gave'
        )
    return int(text)


def check_revision(engine: Engine, kind: Kind, key: Key, old: Object, named: int) -> None:
    if not named or named == int(old["metadata"]["resourceVersion"]):
        return
    # A computed resource counts revisions of its own, and shows stored objects under these.
    shown = engine.source(kind).get(key)
    if shown is None or shown.revision != named:
        raise status.conflict(kind, key.name)
