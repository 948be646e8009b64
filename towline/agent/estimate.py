"""How many more replicas, or sets of pods, a member has room for: counted on its nodes, within its quotas.

Pure. The smallest number counts: what the nodes that a pod may run on have free, and what the namespace's ResourceQuotas leave.
"""

from __future__ import annotations

from collections.abc import Iterable

from towline.agent.capacity import NodeRoom
from towline.agent.claims import allows
from towline.agent.quotas import Quota, within
from towline.kube.amounts import PODS
from towline.kube.packing import UNLIMITED, Nodes, Part, sets_in
from towline.kube.wishes import Wish


def room_for(nodes: Iterable[NodeRoom], quotas: Iterable[Quota], wish: Wish) -> int:
    """How many more units of `wish` fit, up to UNLIMITED."""
    if not wish.pod_count:
        return UNLIMITED
    fits = _on_nodes(nodes, wish)
    for quota in quotas:
        if quota.namespace == wish.namespace:
            fits = min(fits, within(quota, wish.pods, fits))
    return fits


def _on_nodes(nodes: Iterable[NodeRoom], wish: Wish) -> int:
    names = [name for name, _ in wish.totals]
    claims = [allows(pods.claim) for pods in wish.pods]
    rows: list[Nodes] = []
    for node in nodes:
        allowed = sum(1 << index for index, may in enumerate(claims) if may(node))
        if allowed:
            rows.append(Nodes(1, (*(node.free(name) for name in names), node.free(PODS)), allowed))
    parts = [Part(pods.replicas, (*(pods.requests.get(name, 0) for name in names), 1)) for pods in wish.pods]
    return sets_in(rows, parts)
