"""Which nodes a pod may run on: node selector, required node affinity, taints and tolerations, as Kubernetes defines them.

Pure. A claim is compiled once and then asked about every node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from towline.agent.capacity import NodeRoom
from towline.kube.cells import maps, table
from towline.kube.selectors import Requirement
from towline.kube.taints import Taint, repelling, tolerates

Allows = Callable[[NodeRoom], bool]

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": ">", "Lt": "<"}
_CORDONED = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")


def allows(claim: Mapping[str, Any]) -> Allows:
    """Whether a node that is ready may take a pod with this nodeClaim (`nodeSelector`, `hardNodeAffinity`, `tolerations`); how
    much the node has left is another question. A cordoned node needs the toleration of Kubernetes' own taint."""
    selector = {str(key): str(value) for key, value in table(claim.get("nodeSelector")).items()}
    affinity = claim.get("hardNodeAffinity")
    terms = (
        None if affinity is None else [_term(term) for term in maps(table(affinity).get("nodeSelectorTerms"))]
    )
    tolerations = maps(claim.get("tolerations"))

    def allowed(node: NodeRoom) -> bool:
        return (
            node.ready
            and (not node.unschedulable or tolerates(tolerations, _CORDONED))
            and all(node.labels.get(key) == value for key, value in selector.items())
            and (terms is None or any(matches(node) for matches in terms))
            and all(tolerates(tolerations, taint) for taint in repelling(node.taints))
        )

    return allowed


def _term(term: Mapping[str, Any]) -> Allows:
    """All expressions of a NodeSelectorTerm must hold; a term without any matches no node, nor does one that cannot be
    read."""
    labels = _requirements(term.get("matchExpressions"))
    fields = _requirements(term.get("matchFields"))
    if labels is None or fields is None or not (labels or fields):
        return lambda node: False
    if any(field.key != "metadata.name" for field in fields):
        return lambda node: False
    return lambda node: (
        all(each.matches(node.labels) for each in labels)
        and all(each.matches({"metadata.name": node.name}) for each in fields)
    )


def _requirements(expressions: Any) -> list[Requirement] | None:
    """NodeSelectorRequirements; None when there is one that Kubernetes would refuse."""
    found = [_requirement(expression) for expression in maps(expressions)]
    readable = [each for each in found if each is not None]
    return readable if len(readable) == len(found) else None


def _requirement(expression: Mapping[str, Any]) -> Requirement | None:
    operator = _OPERATORS.get(str(expression.get("operator")))
    values = frozenset(map(str, expression.get("values") or ()))
    wanted = {"in": bool(values), "notin": bool(values), ">": len(values) == 1, "<": len(values) == 1}
    if operator is None or not wanted.get(operator, not values):
        return None
    return Requirement(str(expression.get("key") or ""), operator, values)
