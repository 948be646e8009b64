"""apps/v1 Deployment."""

from __future__ import annotations

from towline.kube import names
from towline.kube.cells import at
from towline.kube.interpreter import counters, requirements
from towline.kube.interpreter.operations import Operations, with_spec, without_replicas
from towline.kube.interpreter.pruning import prune_annotations
from towline.kube.objects import Object, labels_of

_COUNTERS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
_REVISIONS = ("deployment.kubernetes.io/revision", "deployment.kubernetes.io/revision-history")


def _retain(desired: Object, observed: Object) -> Object:
    """The member's replicas, where the template says that something in the member scales it."""
    replicas = at(observed, "spec", "replicas")
    if labels_of(desired).get(names.RETAIN_REPLICAS) != "true" or replicas is None:
        return desired
    return with_spec(desired, replicas=replicas)


def _prune(manifest: Object) -> Object:
    return prune_annotations(manifest, _REVISIONS)


OPERATIONS = Operations(
    replicas=requirements.spec_replicas,
    revise_replicas=requirements.revise_spec_replicas,
    halted=without_replicas,
    reflect_status=counters.reflect(_COUNTERS),
    healthy=counters.rolled_out,
    aggregate=counters.aggregate(_COUNTERS),
    retain=_retain,
    prune=_prune,
)
