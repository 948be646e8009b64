"""v1 PersistentVolumeClaim."""

from __future__ import annotations

from towline.kube.cells import at
from towline.kube.interpreter.operations import Items, Operations, foremost_phase, with_spec
from towline.kube.interpreter.pruning import prune_annotations
from towline.kube.objects import Object

_PHASES = ("Lost", "Pending", "Bound")


def _healthy(obj: Object) -> bool:
    return bool(at(obj, "status", "phase") == "Bound")


def _aggregate(template: Object, items: Items) -> Object:
    """Bound when it is bound in every member that reported."""
    return foremost_phase(template, items, _PHASES)


def _retain(desired: Object, observed: Object) -> Object:
    """The volume that the member bound it to."""
    volume = at(observed, "spec", "volumeName")
    return with_spec(desired, volumeName=volume) if volume else desired


def _prune(manifest: Object) -> Object:
    return prune_annotations(manifest, ("volume.kubernetes.io/selected-node",))


OPERATIONS = Operations(healthy=_healthy, aggregate=_aggregate, retain=_retain, prune=_prune)
