"""What override policies must satisfy beyond their schema (Karmada 1.3 and 7.2). Stands parts of any shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from towline.kube import errors, names, overriders, variables
from towline.kube.cells import at, maps, table
from towline.kube.objects import Object
from towline.kube.placement_validation import validate_affinity
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_resource_selectors

_POINTER = re.compile(r"(/([^~/]|~[01])*)*")


def validate_override_policy(new: Object, old: Object | None) -> list[FieldError]:
    """An OverridePolicy or a ClusterOverridePolicy."""
    spec = table(new.get("spec"))
    found = validate_resource_selectors(new)
    rules = maps(spec.get("overrideRules"))
    if rules and (spec.get("targetCluster") is not None or table(spec.get("overriders"))):
        message = "overrideRules and (overriders or targetCluster) can't co-exist"
        found.append(errors.invalid("spec.overrideRules", len(rules), message))
    with_variables = spec.get("variables") == "Enabled"
    expressions: set[str] = set()
    for path, rule in [("spec", spec), *((f"spec.overrideRules[{n}]", rule) for n, rule in enumerate(rules))]:
        found += validate_affinity(rule.get("targetCluster"), f"{path}.targetCluster")
        changes = table(rule.get("overriders"))
        found += _overriders(changes, f"{path}.overriders", with_variables)
        if with_variables:
            for where, value in overriders.values(changes, f"{path}.overriders"):
                expressions.update(variables.expressions(value))
                if len(expressions) > variables.EXPRESSIONS_MAX:
                    message = f"has more than {variables.EXPRESSIONS_MAX} different variables"
                    return [*found, errors.forbidden("spec.variables", message)]
                found += variables.problems(value, where)
    return found


def warn_of_variables(new: Object, old: Object | None) -> tuple[str, ...]:
    """What is told of values that look as if they should be different in each cluster, and will not."""
    spec = table(new.get("spec"))
    if spec.get("variables") == "Enabled":
        return ()
    rules = maps(spec.get("overrideRules"))
    for path, rule in [("spec", spec), *((f"spec.overrideRules[{n}]", rule) for n, rule in enumerate(rules))]:
        for where, value in overriders.values(table(rule.get("overriders")), f"{path}.overriders"):
            if any("cluster." in text for text in variables.expressions(value)):
                return (f"{where}: ${{...}} is plain text unless spec.variables is Enabled",)
    return ()


def _overriders(changes: Mapping[str, Any], path: str, with_variables: bool) -> list[FieldError]:
    found: list[FieldError] = []
    for field in ("labelsOverrider", "annotationsOverrider"):
        for n, overrider in enumerate(maps(changes.get(field))):
            found += _entries(overrider, f"{path}.{field}[{n}]", field == "labelsOverrider", with_variables)
    for n, overrider in enumerate(maps(changes.get("imageOverrider"))):
        where, pointer = f"{path}.imageOverrider[{n}]", at(overrider, "predicate", "path")
        if pointer is not None:
            found += _pointer(pointer, f"{where}.predicate.path")
        if overrider.get("operator") in ("add", "replace") and not overrider.get("value"):
            found.append(errors.required(f"{where}.value", "add and replace need a value"))
    for n, overrider in enumerate(maps(changes.get("fieldOverrider"))):
        found += _field_overrider(overrider, f"{path}.fieldOverrider[{n}]")
    for n, overrider in enumerate(maps(changes.get("plaintext"))):
        found += _pointer(overrider.get("path"), f"{path}.plaintext[{n}].path")
    return found


def _entries(overrider: Mapping[str, Any], path: str, labels: bool, with_variables: bool) -> list[FieldError]:
    """Keys and values of labels or annotations. A value with variables is known only in its cluster."""
    found: list[FieldError] = []
    for key, value in table(overrider.get("value")).items():
        where = f"{path}.value[{key}]"
        messages = names.validate_qualified_name(key)
        known = not (with_variables and variables.has_variables(str(value)))
        if labels and known:
            messages = [*messages, *names.validate_label_value(str(value))]
        found += [errors.invalid(where, value, message) for message in messages]
    return found


def _field_overrider(overrider: Mapping[str, Any], path: str) -> list[FieldError]:
    found = _pointer(overrider.get("fieldPath"), f"{path}.fieldPath")
    given = [name for name in ("json", "yaml") if overrider.get(name)]
    if len(given) != 1:
        message = "fieldOverrider has no json or yaml patch" if not given else "json and yaml cannot co-exist"
        found.append(errors.invalid(path, overrider.get("fieldPath"), message))
    for name in given:
        for n, patch in enumerate(maps(overrider.get(name))):
            found += _pointer(patch.get("subPath"), f"{path}.{name}[{n}].subPath")
            found += _value_rule(patch, f"{path}.{name}[{n}].value")
    return found


def _value_rule(patch: Mapping[str, Any], path: str) -> list[FieldError]:
    """add and replace need a value (any, also an empty one), remove must not have one."""
    value = patch.get("value")
    if patch.get("operator") in ("add", "replace") and value is None:
        return [errors.required(path, "add and replace need a value")]
    if patch.get("operator") == "remove" and value is not None:
        return [errors.invalid(path, value, "value is not allowed for remove operation")]
    return []


def _pointer(pointer: Any, path: str) -> list[FieldError]:
    if isinstance(pointer, str) and _POINTER.fullmatch(pointer):
        return []
    return [errors.invalid(path, pointer, "must be a JSON pointer: empty, or starting with '/'")]
