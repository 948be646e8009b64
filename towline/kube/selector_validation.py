"""What the selectors in an object must satisfy beyond their schemas. Stands values of any shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube import errors, names
from towline.kube.cells import at, maps, table
from towline.kube.objects import Object
from towline.kube.schemas import FieldError


def validate_label_selector(selector: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    labels = f"{path}.matchLabels"
    for key, value in table(at(selector, "matchLabels")).items():
        found += [errors.invalid(labels, key, message) for message in names.validate_qualified_name(key)]
        found += [errors.invalid(labels, value, message) for message in _value_problems(value)]
    for n, term in enumerate(maps(at(selector, "matchExpressions"))):
        found += validate_requirement(term, f"{path}.matchExpressions[{n}]")
    return found


def validate_requirement(
    term: Mapping[str, Any], path: str, *, any_operator: bool = False
) -> list[FieldError]:
    """One of matchExpressions. With `any_operator` what is no operator yet is left to whoever reads it."""
    found: list[FieldError] = []
    operator, values = term.get("operator"), term.get("values")
    if operator in ("In", "NotIn"):
        if not values:
            message = "must be specified when `operator` is 'In' or 'NotIn'"
            found.append(errors.required(f"{path}.values", message))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            message = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(errors.forbidden(f"{path}.values", message))
    elif not any_operator:
        found.append(errors.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    key = str(term.get("key") or "")
    found += [errors.invalid(f"{path}.key", key, message) for message in names.validate_qualified_name(key)]
    for n, value in enumerate(values if isinstance(values, list) else ()):
        found += [errors.invalid(f"{path}.values[{n}]", value, message) for message in _value_problems(value)]
    return found


def validate_resource_selectors(policy: Object) -> list[FieldError]:
    """`spec.resourceSelectors`. A policy of one namespace selects nothing in another."""
    namespace = at(policy, "metadata", "namespace")
    found: list[FieldError] = []
    for n, selector in enumerate(maps(at(policy, "spec", "resourceSelectors"))):
        path, its = f"spec.resourceSelectors[{n}]", selector.get("namespace")
        if namespace and its not in (None, "", namespace):
            message = f"the namespace must be the policy's own, {namespace}"
            found.append(errors.invalid(f"{path}.namespace", its, message))
        found += validate_label_selector(selector.get("labelSelector"), f"{path}.labelSelector")
    return found


def _value_problems(value: Any) -> list[str]:
    return names.validate_label_value(value) if isinstance(value, str) else []
