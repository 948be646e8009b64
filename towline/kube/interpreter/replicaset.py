"""apps/v1 ReplicaSet."""

from __future__ import annotations

from towline.kube.cells import at
from towline.kube.interpreter import counters, requirements
from towline.kube.interpreter.operations import Operations, without_replicas
from towline.kube.objects import Object

_COUNTERS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def _healthy(obj: Object) -> bool:
    wanted = at(obj, "spec", "replicas")
    available = at(obj, "status", "availableReplicas") or 0
    return counters.observed(obj) and available >= (1 if wanted is None else wanted)


OPERATIONS = Operations(
    replicas=requirements.spec_replicas,
    revise_replicas=requirements.revise_spec_replicas,
    halted=without_replicas,
    reflect_status=counters.reflect(_COUNTERS),
    healthy=_healthy,
    aggregate=counters.aggregate(_COUNTERS),
)
