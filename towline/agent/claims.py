"""Which nodes a pod may run on: node selector, required node affinity, taints and tolerations, as Kubernetes defines them.

Pure. A claim is compiled once and then asked about every node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from towline.agent.capacity import NodeRoom
from towline.kube.cells import maps, table
from towline.kube.selectors import Requirement

Allows = Callable[[NodeRoom], bool]

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": ">", "Lt": "<"}
_HARD_EFFECTS = ("NoSchedule", "NoExecute")
_CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def allows(claim: Mapping[str, Any]) -> Allows:
    """Whether a node that is ready may take a pod with this nodeClaim (`nodeSelector`, `hardNodeAffinity`, `tolerations`); how
    much the node has left is another question. A cordoned node needs the toleration of Kubernetes' own taint."""
    selector = {str(key): str(value) for key, value in table(claim.get("nodeSelector")).items()}
    affinity = claim.get("hardNodeAffinity")
    terms = (
        None if affinity is None else [_term(term) for term in maps(table(affinity).get("nodeSelectorTerms"))]
    )
    tolerations = tuple(maps(claim.get("tolerations")))

    def allowed(node: NodeRoom) -> bool:
        return (
            node.ready
            and (not node.unschedulable or _tolerated(_CORDONED, tolerations))
            and all(node.labels.get(key) == value for key, value in selector.items())
            and (terms is None or any(matches(node) for matches in terms))
            and all(
                _tolerated(taint, tolerations)
                for taint in node.taints
                if taint.get("effect") in _HARD_EFFECTS
            )
        )

    return allowed


def _term(term: Mapping[str, Any]) -> Allows:
    """All expressions of a NodeSelectorTerm must hold; a term without any matches no node, nor does one that cannot be
    read."""
    labels = [_requirement(expression) for expression in maps(term.get("matchExpressions"))]
    fields = [_requirement(expression) for expression in maps(term.get("matchFields"))]
    readable = all(each is not None for each in [*labels, *fields]) and all(
        each.key == "metadata.name" for each in fields if each is not None
    )
    if not readable or not (labels or fields):
        return lambda node: False
    return lambda node: (
        all(each.matches(node.labels) for each in labels if each is not None)
        and all(each.matches({"metadata.name": node.name}) for each in fields if each is not None)
    )


def _requirement(expression: Mapping[str, Any]) -> Requirement | None:
    """A NodeSelectorRequirement; None when Kubernetes would refuse it."""
    operator = _OPERATORS.get(str(expression.get("operator")))
    values = frozenset(map(str, expression.get("values") or ()))
    wanted = {"in": bool(values), "notin": bool(values), ">": len(values) == 1, "<": len(values) == 1}
    if operator is None or not wanted.get(operator, not values):
        return None
    return Requirement(str(expression.get("key") or ""), operator, values)


def _tolerated(taint: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """An empty effect means all, an empty key with Exists every key."""
    if (toleration.get("effect") or taint.get("effect")) != taint.get("effect"):
        return False
    if (toleration.get("key") or taint.get("key")) != taint.get("key"):
        return False
    operator, wanted = toleration.get("operator") or "Equal", str(toleration.get("value") or "")
    held = str(taint.get("value") or "")
    if operator == "Exists":
        return True
    if operator == "Equal":
        return bool(toleration.get("key")) and held == wanted
    try:
        left, right = int(held), int(wanted)
    except ValueError:
        return False
    return (operator == "Lt" and left < right) or (operator == "Gt" and left > right)
