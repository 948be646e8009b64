"""Manifests: what is taken out of every template, and the record of what the hub manages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from towline.kube import names
from towline.kube.objects import Object, annotations_of, labels_of, with_annotations

_HUB_METADATA = frozenset(
    {
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
        "ownerReferences",
        "finalizers",
    }
)


def prune_metadata(template: Object) -> Object:
    """`template` without status and without the metadata that belongs to the hub's copy."""
    metadata = template.get("metadata")
    if not isinstance(metadata, Mapping):
        return {k: v for k, v in template.items() if k != "status"}
    kept = {k: v for k, v in metadata.items() if k not in _HUB_METADATA}
    return {k: kept if k == "metadata" else v for k, v in template.items() if k != "status"}


def prune_annotations(obj: Object, keys: Collection[str]) -> Object:
    """`obj` without annotations `keys`; itself when it has none of them."""
    return with_annotations(obj, remove=keys) if any(key in annotations_of(obj) for key in keys) else obj


def without_keys(value: Any, keys: Collection[str]) -> Any:
    """Map `value` without `keys`; None when nothing is left."""
    if not isinstance(value, Mapping):
        return value
    return {k: v for k, v in value.items() if k not in keys} or None


def record_managed(manifest: Object) -> Object:
    """`manifest` with the annotations that list its annotations and labels, so that a member knows which of them
    came from the hub and go when the hub drops them."""
    annotations = {*annotations_of(manifest), names.MANAGED_ANNOTATIONS, names.MANAGED_LABELS}
    return with_annotations(
        manifest,
        {
            names.MANAGED_ANNOTATIONS: ",".join(sorted(annotations)),
            names.MANAGED_LABELS: ",".join(sorted(labels_of(manifest))),
        },
    )
