"""What roles say: which requests a rule allows, and whether rules cover others. Pure.

Objects come from the store after their schema was checked. A rule is either about resources (`resources` with `apiGroups`) or
about paths (`nonResourceURLs`); one that has both is read as both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from towline.kube import selectors
from towline.kube.objects import Object

GROUP = "rbac.authorization.k8s.io"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
COVERED_MAX = 100_000
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


_FIELDS = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")


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


def aggregated(role: Mapping[str, Any], others: Iterable[Object]) -> list[Object]:
    """The rules that an aggregating ClusterRole gets from the ClusterRoles it selects, each once, in order of their names."""
    wanted = [
        selectors.from_object(selector)
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


# --- covering --------------------------------------------------------------------------------------------------


def rules_cover(owned: Sequence[Rule], wanted: Iterable[Rule]) -> bool:
    """Whether who has `owned` can do all that `wanted` allow."""
    return not any(True for _ in uncovered(owned, wanted))


def uncovered(owned: Sequence[Rule], wanted: Iterable[Rule]) -> Iterator[Rule]:
    """What of `wanted` is missing in `owned`, as single permissions. A rule too large to be taken apart is missing whole."""
    for rule in wanted:
        if any(_covers(own, rule) for own in owned):
            continue
        if _size(rule) > COVERED_MAX:
            yield rule
            continue
        for single in broken_down(rule):
            if not any(_covers(own, single) for own in owned):
                yield single


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
