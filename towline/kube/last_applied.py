"""From client-side to server-side apply: what `kubectl apply` wrote into its annotation still counts when kubectl applies on the server.

As kube-apiserver has it, for the field manager `kubectl` alone: a conflict about a field that the annotation says and that still
has the value that it says is no conflict, because the same person applied it; and each such apply brings the annotation up to date, so
that one may go back.
"""

from __future__ import annotations

from typing import Any

import orjson

from towline.kube import fields
from towline.kube.fields import FieldsError, FieldSet
from towline.kube.objects import Object, with_annotations
from towline.kube.schemas import Schema

MANAGER = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
BYTES_MAX = 256 * 1024
"""A longer one would not fit among the annotations: then it is emptied, as in Kubernetes."""

_ESCAPED = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"))


def of(live: Object) -> str:
    """The annotation; "" for none."""
    found = (live["metadata"].get("annotations") or {}).get(ANNOTATION)
    return found if isinstance(found, str) else ""


def still_true(schema: Schema, live: Object) -> FieldSet:
    """The fields that the annotation says and that nobody has changed since. Empty where it cannot be read."""
    try:
        said: Any = orjson.loads(of(live) or b"null")
        if not isinstance(said, dict):
            return {}
        owned = fields.of_object(schema, said)
        changed = fields.compare(schema, live, said)
    except (FieldsError, orjson.JSONDecodeError):
        return {}
    return fields.difference(fields.difference(owned, changed.modified), changed.added)


def refreshed(obj: Object, configuration: Object) -> Object:
    """`obj`, where it has the annotation, with `configuration` in it; the same object if it says so already."""
    said = of(obj)
    if not said:
        return obj
    value = _encoded(configuration)
    return obj if value == said else with_annotations(obj, {ANNOTATION: value})


def _encoded(configuration: Object) -> str:
    metadata = {k: v for k, v in (configuration.get("metadata") or {}).items() if k != "managedFields"}
    if isinstance(metadata.get("annotations"), dict):
        left = {k: v for k, v in metadata["annotations"].items() if k != ANNOTATION}
        metadata = {**metadata, "annotations": left}
        if not left:
            del metadata["annotations"]
    encoded = orjson.dumps({**configuration, "metadata": metadata}, option=orjson.OPT_SORT_KEYS)
    for plain, escaped in _ESCAPED:  # as Go encodes
        encoded = encoded.replace(plain, escaped)
    return "" if len(encoded) > BYTES_MAX else encoded.decode() + "\n"
