"""apps/v1 StatefulSet."""

from __future__ import annotations

from towline.kube.interpreter import counters, requirements
from towline.kube.interpreter.operations import Operations, without_replicas

_COUNTERS = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")

OPERATIONS = Operations(
    replicas=requirements.spec_replicas,
    revise_replicas=requirements.revise_spec_replicas,
    halted=without_replicas,
    reflect_status=counters.reflect(_COUNTERS),
    healthy=counters.rolled_out,
    aggregate=counters.aggregate(_COUNTERS),
)
