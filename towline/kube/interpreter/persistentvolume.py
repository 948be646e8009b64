"""v1 PersistentVolume."""

from __future__ import annotations

from towline.kube.cells import at
from towline.kube.interpreter.operations import Items, Operations, foremost_phase, with_spec
from towline.kube.objects import Object

_PHASES = ("Failed", "Pending", "Available", "Bound", "Released")


def _aggregate(template: Object, items: Items) -> Object:
    """The phase that wants the most attention."""
    return foremost_phase(template, items, _PHASES)


def _retain(desired: Object, observed: Object) -> Object:
    """The claim that the member bound it to."""
    claim = at(observed, "spec", "claimRef")
    return with_spec(desired, claimRef=claim) if claim else desired


OPERATIONS = Operations(aggregate=_aggregate, retain=_retain)
