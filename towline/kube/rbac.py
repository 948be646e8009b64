"""What roles say: which requests a rule allows, and whether rules cover others. Pure.

Objects come from the store after their schema was checked. A rule is either about resources (`resources` with `apiGroups`) or
about paths (`nonResourceURLs`); one that has both is read as both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import orjson

from towline.kube import selectors
from towline.kube.objects import Key, Object

GROUP = "rbac.authorization.k8s.io"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
COVERED_MAX = 10_000
"""Into so many single permissions wanted rules are taken apart; more are not covered."""


class Rule(NamedTuple):
    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    def allows(self, verb: str, group: str, resource: str, subresource: str = "", name: str = "") -> bool:
        """Whether a request about a resource may be made. `name` is "" for collections."""
        return (
            _has(self.verbs, verb)
            and _has(self.groups, group)
            and _has_resource(self.resources, f"{resource}/{subresource}" if subresource else resource)
            and (not self.names or name in self.names)
        )

    def allows_url(self, verb: str, path: str) -> bool:
        return _has(self.verbs, verb) and any(_url_covers(url, path) for url in self.urls)

    def as_object(self) -> Object:
        fields = zip(_FIELDS, self, strict=True)
        return {field: list(values) for field, values in fields if values}

    def __str__(self) -> str:
        """As Kubernetes' errors show it: `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}`."""
        shown = zip(_SHOWN, (self.groups, self.resources, self.urls, self.names, self.verbs), strict=True)
        parts = (f"{name}:[{' '.join(map(quoted, values))}]" for name, values in shown if values)
        return f"{{{', '.join(parts)}}}"


EVERYTHING = (Rule(("*",), ("*",), ("*",)), Rule(("*",), urls=("*",)))

_FIELDS = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
_SHOWN = ("APIGroups", "Resources", "NonResourceURLs", "ResourceNames", "Verbs")


def rules_of(role: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules of a Role or ClusterRole."""
    return tuple(rule_of(rule) for rule in role.get("rules") or ())


def rule_of(rule: Mapping[str, Any]) -> Rule:
    return Rule(*(tuple(rule.get(field) or ()) for field in _FIELDS))


def subject_name(subject: Mapping[str, Any], namespace: str) -> tuple[str, str] | None:
    """("User" or "Group", name) that a binding's subject stands for; None where it stands for nobody. A ServiceAccount is
    the user that its tokens name; without a namespace it is of the binding's."""
    kind, name = str(subject.get("kind") or ""), str(subject.get("name") or "")
    if kind in ("User", "Group"):
        return kind, name
    namespace = str(subject.get("namespace") or namespace)
    if kind == "ServiceAccount" and namespace:
        return "User", f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"
    return None


def bound_role(binding: Mapping[str, Any], namespace: str) -> Key | None:
    """The role that a binding in `namespace` ("" for a ClusterRoleBinding) gives; None where it can name none."""
    named = binding.get("roleRef") or {}
    kind, name = named.get("kind"), str(named.get("name") or "")
    if kind == "ClusterRole":
        return Key(GROUP, "clusterroles", "", name)
    if kind == "Role" and namespace:
        return Key(GROUP, "roles", namespace, name)
    return None


def aggregated(role: Mapping[str, Any], others: Iterable[Object]) -> list[Object]:
    """The rules that an aggregating ClusterRole gets from the ClusterRoles it selects, each once, in order of their names."""
    wanted = [
        _selector(selector)
        for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
    ]
    own = role["metadata"].get("name")
    found: dict[Rule, Object] = {}
    for other in sorted(others, key=lambda o: str(o["metadata"]["name"])):
        labels = other["metadata"].get("labels")
        if other["metadata"]["name"] != own and any(selector.matches(labels) for selector in wanted):
            for rule in other.get("rules") or ():
                found.setdefault(rule_of(rule), rule)
    return list(found.values())


def _selector(selector: Object) -> selectors.Selector:
    try:
        return selectors.from_object(selector)
    except selectors.SelectorError:
        return selectors.NOTHING  # stored before somebody checked it


# --- covering --------------------------------------------------------------------------------------------------


def rules_cover(owned: Sequence[Rule], wanted: Iterable[Rule]) -> bool:
    """Whether who has `owned` can do all that `wanted` allow."""
    return not any(True for _ in uncovered(owned, wanted))


def uncovered(owned: Sequence[Rule], wanted: Iterable[Rule]) -> Iterator[Rule]:
    """What of `wanted` is missing in `owned`, as single permissions. Where there are too many to take rules apart, whole
    rules are missing."""
    left = COVERED_MAX
    for rule in wanted:
        if any(_covers(own, rule) for own in owned):
            continue
        left -= _size(rule)
        if left < 0:
            yield rule
            continue
        for single in broken_down(rule):
            if not any(_covers(own, single) for own in owned):
                yield single


def merged(singles: Iterable[Rule]) -> list[Rule]:
    """Single permissions that differ by their verb only as one rule each."""
    found: dict[Rule, list[str]] = {}
    for rule in singles:
        found.setdefault(rule._replace(verbs=()), []).extend(rule.verbs)
    return [rule._replace(verbs=tuple(dict.fromkeys(verbs))) for rule, verbs in found.items()]


def broken_down(rule: Rule) -> Iterator[Rule]:
    """The rule as rules with one verb, group, resource and name, or one verb and URL, each."""
    for group, resource, verb in product(rule.groups, rule.resources, rule.verbs):
        for name in rule.names or (None,):
            yield Rule((verb,), (group,), (resource,), (name,) if name is not None else ())
    for url, verb in product(rule.urls, rule.verbs):
        yield Rule((verb,), urls=(url,))


def _size(rule: Rule) -> int:
    resources = len(rule.groups) * len(rule.resources) * max(1, len(rule.names))
    return len(rule.verbs) * (resources + len(rule.urls))


def _covers(own: Rule, other: Rule) -> bool:
    if not all(_has(own.verbs, verb) for verb in other.verbs):
        return False
    if not all(any(_url_covers(url, wanted) for url in own.urls) for wanted in other.urls):
        return False
    if not (other.groups and other.resources):
        return bool(other.urls)
    return (
        all(_has(own.groups, group) for group in other.groups)
        and all(_has_resource(own.resources, resource) for resource in other.resources)
        and (not own.names or (bool(other.names) and set(other.names) <= set(own.names)))
    )


def _has(values: tuple[str, ...], value: str) -> bool:
    return value in values or "*" in values


def _has_resource(values: tuple[str, ...], resource: str) -> bool:
    if _has(values, resource):
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in values


def _url_covers(url: str, path: str) -> bool:
    return url in ("*", path) or (url.endswith("*") and path.startswith(url.rstrip("*")))


def quoted(text: str) -> str:
    """Text as Go's %q shows it, for what names consist of."""
    return orjson.dumps(text).decode()
