"""networking.k8s.io/v1 Ingress."""

from __future__ import annotations

from towline.kube.interpreter import balancers
from towline.kube.interpreter.operations import Operations

OPERATIONS = Operations(
    reflect_status=balancers.reflect, healthy=balancers.has_address, aggregate=balancers.aggregate
)
