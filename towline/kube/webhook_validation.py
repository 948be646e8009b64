"""What configurations of webhooks must satisfy beyond their schemas: Kubernetes' for admission, Karmada's for interpreters.

Hooks are `(new, old) -> errors`, and stand objects of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from towline.kube import errors, names
from towline.kube.cells import at, maps, table
from towline.kube.field_rules import one_of, port
from towline.kube.objects import Object
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_label_selector

_TIMEOUT_SECONDS = range(1, 31)
_ADMISSION_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_REVIEW_VERSIONS = ("v1", "v1beta1")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "failurePolicy": ("Fail", "Ignore"),
    "matchPolicy": ("Equivalent", "Exact"),
    "reinvocationPolicy": ("IfNeeded", "Never"),
    "sideEffects": ("None", "NoneOnDryRun"),
}
_INTERPRETER_OPERATIONS = (
    "AggregateStatus", "InterpretComponent", "InterpretDependency", "InterpretHealth", "InterpretReplica",
    "InterpretStatus", "Retain", "ReviseReplica",
)  # fmt: skip


def validate_admission_webhooks(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of Validating- and MutatingWebhookConfiguration."""
    found = _webhooks(new)
    for n, webhook in enumerate(maps(new.get("webhooks"))):
        path = f"webhooks[{n}]"
        for field, options in _CHOICES.items():
            found += one_of(webhook.get(field), f"{path}.{field}", options)
        if webhook.get("sideEffects") is None:
            message = "must specify one of None, NoneOnDryRun"
            found.append(errors.required(f"{path}.sideEffects", message))
        versions = webhook.get("admissionReviewVersions")
        where = f"{path}.admissionReviewVersions"
        if not versions:
            found.append(errors.required(where, f"must specify one of {', '.join(_REVIEW_VERSIONS)}"))
        elif isinstance(versions, list) and not set(map(str, versions)) & set(_REVIEW_VERSIONS):
            message = f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"
            found.append(errors.invalid(where, versions, message))
        for field in ("namespaceSelector", "objectSelector"):
            found += validate_label_selector(webhook.get(field), f"{path}.{field}")
        for m, rule in enumerate(maps(webhook.get("rules"))):
            found += _rule(rule, f"{path}.rules[{m}]", "resources", _ADMISSION_OPERATIONS)
    return found


def validate_interpreter_webhooks(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of ResourceInterpreterWebhookConfiguration."""
    found = _webhooks(new)
    for n, webhook in enumerate(maps(new.get("webhooks"))):
        path, versions = f"webhooks[{n}]", webhook.get("interpreterContextVersions")
        if not isinstance(versions, list) or "v1alpha1" not in versions:
            message = "must include v1alpha1, the one version that is spoken"
            found.append(errors.invalid(f"{path}.interpreterContextVersions", versions, message))
        for m, rule in enumerate(maps(webhook.get("rules"))):
            found += _rule(rule, f"{path}.rules[{m}]", "kinds", ("*", *_INTERPRETER_OPERATIONS))
    return found


def _webhooks(new: Object) -> list[FieldError]:
    """What holds of every webhook: a name of its own, an address, and a time that somebody waits."""
    found: list[FieldError] = []
    seen: set[str] = set()
    for n, webhook in enumerate(maps(new.get("webhooks"))):
        path, name = f"webhooks[{n}]", str(webhook.get("name") or "")
        found += _domain(name, f"{path}.name")
        if name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
        found += _client(table(webhook.get("clientConfig")), f"{path}.clientConfig")
        seconds = webhook.get("timeoutSeconds")
        if isinstance(seconds, int) and seconds not in _TIMEOUT_SECONDS:
            message = "the timeout value must be between 1 and 30 seconds"
            found.append(errors.invalid(f"{path}.timeoutSeconds", seconds, message))
    return found


def _domain(name: str, path: str) -> list[FieldError]:
    if not name:
        return [errors.required(path)]
    if wrong := names.validate_subdomain(name):
        return [errors.invalid(path, name, message) for message in wrong]
    if name.count(".") < 2:
        message = "should be a domain with at least three segments separated by dots"
        return [errors.invalid(path, name, message)]
    return []


def _rule(rule: Mapping[str, Any], path: str, what: str, operations: tuple[str, ...]) -> list[FieldError]:
    found: list[FieldError] = []
    for field in ("operations", "apiGroups", "apiVersions", what):
        values = rule.get(field)
        if not isinstance(values, list) or not values:
            found.append(errors.required(f"{path}.{field}"))
            continue
        if "*" in values and len(values) > 1 and field != "resources":
            message = f"if '*' is present, must not specify other {field}"
            found.append(errors.invalid(f"{path}.{field}", values, message))
        for n, value in enumerate(values):
            if field == "operations":
                found += one_of(value, f"{path}.{field}[{n}]", operations)
            elif not value and field != "apiGroups":
                found.append(errors.required(f"{path}.{field}[{n}]"))
    return found


def _client(client: Mapping[str, Any], path: str) -> list[FieldError]:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        return [errors.required(path, "exactly one of url or service is required")]
    if url is not None:
        parts = url_with_host(str(url))
        if parts is None or parts.scheme != "https":
            return [errors.invalid(f"{path}.url", url, "must be a URL with https and a host")]
        refused = (("userinfo", parts.username), ("fragment", parts.fragment), ("query", parts.query))
        return [
            errors.invalid(f"{path}.url", url, f"may not have a {part}") for part, text in refused if text
        ]
    found = [errors.required(f"{path}.service.{f}") for f in ("namespace", "name") if not at(service, f)]
    if at(service, "port") is not None:
        found += port(at(service, "port"), f"{path}.service.port")
    where = at(service, "path")
    if where and not str(where).startswith("/"):
        found.append(errors.invalid(f"{path}.service.path", where, "must start with a '/'"))
    return found


def url_with_host(text: str) -> SplitResult | None:
    """The parts of a URL that has a host."""
    try:
        parts = urlsplit(text)
        return parts if parts.hostname else None
    except ValueError:
        return None
