"""What an agent may do in its member: everything, or only so much as it needs for some kinds and namespaces. Pure.

The same limits stand twice in what `towline join` prints: as RBAC, which the member's API server enforces, and as the agent's own
flags, with which it tells the hub in a sentence what it will not do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from towline.kube import names

Object = dict[str, Any]

NAMESPACE = names.AGENT_NAMESPACE
AGENT = names.AGENT
LABELS = {"app.kubernetes.io/name": AGENT, "app.kubernetes.io/part-of": "towline"}
PART_OF = "app.kubernetes.io/part-of=towline"
"""Selects all that `towline join` installs."""

_RBAC = "rbac.authorization.k8s.io/v1"
_RBAC_GROUP = "rbac.authorization.k8s.io"
_WRITES = ["get", "list", "watch", "create", "patch", "delete"]
_READS = ["get", "list", "watch"]
_PATHS = ["/api", "/api/*", "/apis", "/apis/*", "/version", "/readyz", "/healthz"]
_COUNTED = ["nodes", "pods", "resourcequotas"]


class Resource(NamedTuple):
    """A kind as RBAC names it."""

    plural: str
    group: str = ""
    namespaced: bool = True

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


_NAMESPACES = Resource("namespaces", namespaced=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where and what an agent may write; empty: everywhere, everything."""

    namespaces: tuple[str, ...] = ()
    kinds: tuple[Resource, ...] = ()

    def flags(self) -> list[str]:
        """The agent's own limits."""
        flags = [f"--allow-namespace={namespace}" for namespace in self.namespaces]
        return flags + [f"--allow-kind={kind}" for kind in self._allowed_kinds()]

    def _allowed_kinds(self) -> Sequence[Resource]:
        """Whoever may write into a namespace has to see to it that it is there."""
        if any(kind.namespaced for kind in self.kinds) and _NAMESPACES not in self.kinds:
            return (*self.kinds, _NAMESPACES)
        return self.kinds


def permissions(scope: Scope) -> list[Object]:
    """The RBAC objects of the agent (and the Namespaces that its Roles lie in)."""
    if scope == Scope():
        # The hub may send any kind, including Roles, which nobody may create who does not hold what they grant.
        everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
        return _granted([everything, {"nonResourceURLs": ["*"], "verbs": ["get"]}])
    identity = _rule("", ["secrets"], ["get", "create", "patch"], [AGENT])
    return [
        *_granted([*_looks(scope), *_everywhere(scope)]),
        *_granted([identity], NAMESPACE),
        *(obj for namespace in scope.namespaces for obj in _in_namespace(scope, namespace)),
    ]


def _looks(scope: Scope) -> list[Object]:
    """What the agent reads of the cluster: what it is, what it serves, and, where it may look everywhere, what room it has."""
    rules = [
        {"nonResourceURLs": [*_PATHS], "verbs": ["get"]},
        _rule("", ["namespaces"], ["get"], ["kube-system"]),  # its uid is the cluster's
        *_removes_itself(),
    ]
    if not scope.namespaces:
        rules.append(_rule("", [*_COUNTED], ["list", "watch"]))
    return rules


def _removes_itself() -> list[Object]:
    """`towline unjoin --remove-agent`: it gives what is outside of its namespace to that as owner, and deletes it. (Patching its own
    roles gives it no rights: nobody may grant what they do not hold.)"""
    roles = _rule(_RBAC_GROUP, ["clusterroles", "clusterrolebindings"], ["patch"], [AGENT])
    return [_rule("", ["namespaces"], ["get", "delete"], [NAMESPACE]), roles]


def _everywhere(scope: Scope) -> list[Object]:
    if scope.namespaces:
        seen = _rule("", ["namespaces"], [*_READS], list(scope.namespaces))
        return [seen, *_rules([kind for kind in scope.kinds if not kind.namespaced and kind != _NAMESPACES])]
    return _rules(scope._allowed_kinds())


def _in_namespace(scope: Scope, namespace: str) -> list[Object]:
    rules = _rules([kind for kind in scope.kinds if kind.namespaced])
    if not scope.kinds:
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": [*_WRITES]}]
    elif rules:
        rules.append(_rule(_RBAC_GROUP, ["roles", "rolebindings"], ["patch"], [AGENT]))
    # Without our label: it is the owner's, and stays when the agent goes.
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    return [space, *(_granted(rules, namespace) if rules else [])]


def _rules(kinds: Sequence[Resource]) -> list[Object]:
    """One rule for each group."""
    groups: dict[str, list[str]] = {}
    for kind in kinds:
        groups.setdefault(kind.group, []).append(kind.plural)
    return [_rule(group, plurals, [*_WRITES]) for group, plurals in groups.items()]


def _rule(group: str, plurals: list[str], verbs: list[str], names: list[str] | None = None) -> Object:
    rule: Object = {"apiGroups": [group], "resources": plurals, "verbs": verbs}
    return {**rule, "resourceNames": names} if names else rule


def _granted(rules: list[Object], namespace: str = "") -> list[Object]:
    """A role of these rules, and the agent in it."""
    role, binding = ("Role", "RoleBinding") if namespace else ("ClusterRole", "ClusterRoleBinding")
    return [
        manifest(_RBAC, role, AGENT, namespace, rules=rules),
        manifest(
            _RBAC,
            binding,
            AGENT,
            namespace,
            roleRef={"apiGroup": _RBAC_GROUP, "kind": role, "name": AGENT},
            subjects=[{"kind": "ServiceAccount", "name": AGENT, "namespace": NAMESPACE}],
        ),
    ]


def manifest(api_version: str, kind: str, name: str, namespace: str = "", **content: Any) -> Object:
    metadata: Object = {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": {**LABELS},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
