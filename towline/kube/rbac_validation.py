"""What roles and bindings must satisfy beyond their schema, with Kubernetes' paths and texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube import errors, names
from towline.kube.cells import at, maps
from towline.kube.objects import Object
from towline.kube.rbac import GROUP
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_label_selector
from towline.kube.selectors import SelectorError, from_object

_SUBJECTS = ("ServiceAccount", "User", "Group")


def validate_role(new: Object, old: Object | None) -> list[FieldError]:
    return _rules(new, namespaced=True)


def validate_cluster_role(new: Object, old: Object | None) -> list[FieldError]:
    found = _rules(new, namespaced=False)
    aggregation = new.get("aggregationRule")
    if aggregation is None:
        return found
    path = "aggregationRule.clusterRoleSelectors"
    selectors = at(aggregation, "clusterRoleSelectors")
    if not selectors:
        message = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        return [*found, errors.required(path, message)]
    for n, selector in enumerate(maps(selectors)):
        found += validate_label_selector(selector, f"{path}[{n}]")
        try:
            from_object(selector)
        except SelectorError:
            found.append(errors.invalid(f"{path}[{n}]", selector, "invalid label selector."))
    return found


def validate_role_binding(new: Object, old: Object | None) -> list[FieldError]:
    return _binding(new, old, ("Role", "ClusterRole"), namespaced=True)


def validate_cluster_role_binding(new: Object, old: Object | None) -> list[FieldError]:
    return _binding(new, old, ("ClusterRole",), namespaced=False)


def _rules(role: Object, *, namespaced: bool) -> list[FieldError]:
    found: list[FieldError] = []
    for n, rule in enumerate(maps(role.get("rules"))):
        found += _rule(rule, f"rules[{n}]", namespaced=namespaced)
    return found


def _rule(rule: Mapping[str, Any], path: str, *, namespaced: bool) -> list[FieldError]:
    found: list[FieldError] = []
    if not rule.get("verbs"):
        found.append(errors.required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        where = f"{path}.nonResourceURLs"
        if namespaced:
            found.append(errors.invalid(where, urls, "namespaced rules cannot apply to non-resource URLs"))
        if any(rule.get(field) for field in ("apiGroups", "resources", "resourceNames")):
            message = "rules cannot apply to both regular resources and non-resource URLs"
            found.append(errors.invalid(where, urls, message))
        return found
    if not rule.get("apiGroups"):
        message = "resource rules must supply at least one api group"
        found.append(errors.required(f"{path}.apiGroups", message))
    if not rule.get("resources"):
        found.append(errors.required(f"{path}.resources", "resource rules must supply at least one resource"))
    return found


def _binding(
    new: Object, old: Object | None, roles: tuple[str, ...], *, namespaced: bool
) -> list[FieldError]:
    found: list[FieldError] = []
    group, kind, name = (at(new, "roleRef", field) or "" for field in ("apiGroup", "kind", "name"))
    if group != GROUP:
        found.append(errors.unsupported("roleRef.apiGroup", group, (GROUP,)))
    if kind not in roles:
        found.append(errors.unsupported("roleRef.kind", kind, roles))
    if not name:
        found.append(errors.required("roleRef.name"))
    else:
        problems = names.validate_path_segment(str(name))
        found += [errors.invalid("roleRef.name", name, problem) for problem in problems]
    for n, subject in enumerate(maps(new.get("subjects"))):
        found += _subject(subject, f"subjects[{n}]", namespaced=namespaced)
    if old is not None and at(old, "roleRef") != at(new, "roleRef"):
        found.append(errors.invalid("roleRef", at(new, "roleRef"), "cannot change roleRef"))
    return found


def _subject(subject: Mapping[str, Any], path: str, *, namespaced: bool) -> list[FieldError]:
    found: list[FieldError] = []
    group, kind, name = (subject.get(field) or "" for field in ("apiGroup", "kind", "name"))
    if not name:
        found.append(errors.required(f"{path}.name"))
    if kind not in _SUBJECTS:
        return [*found, errors.unsupported(f"{path}.kind", kind, _SUBJECTS)]
    if kind == "ServiceAccount":
        problems = names.validate_subdomain(str(name)) if name else []
        found += [errors.invalid(f"{path}.name", name, problem) for problem in problems]
        if not namespaced and not subject.get("namespace"):
            found.append(errors.required(f"{path}.namespace"))
    wanted = "" if kind == "ServiceAccount" else GROUP
    if group != wanted:
        found.append(errors.unsupported(f"{path}.apiGroup", group, (wanted,)))
    return found
