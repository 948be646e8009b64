"""What configurations of webhooks must satisfy beyond their schemas: Kubernetes' for admission, Karmada's for interpreters.

Hooks are `(new, old) -> errors`, and stand objects of any shape. An expression that is stored already is not compiled again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from towline.kube import cel, errors, names, webhooks
from towline.kube.cells import maps, table
from towline.kube.field_rules import one_of
from towline.kube.objects import Object
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_label_selector

CONDITIONS_MAX = 64

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_INTERPRETER_OPERATIONS = (
    "AggregateStatus", "InterpretComponent", "InterpretDependency", "InterpretHealth", "InterpretReplica",
    "InterpretStatus", "Retain", "ReviseReplica",
)  # fmt: skip
_FORM = "; desired format: https://host[/path]"
_CHOICES = (
    ("failurePolicy", ("Fail", "Ignore")),
    ("matchPolicy", ("Equivalent", "Exact")),
    ("sideEffects", ("None", "NoneOnDryRun")),
    ("reinvocationPolicy", ("IfNeeded", "Never")),
)


def validate_admission_webhooks(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of Validating- and MutatingWebhookConfiguration."""
    found = _webhooks(new)
    stored = {
        str(condition.get("expression") or "").strip()
        for webhook in maps((old or {}).get("webhooks"))
        for condition in maps(webhook.get("matchConditions"))
    }
    for n, webhook in enumerate(maps(new.get("webhooks"))):
        path = f"webhooks[{n}]"
        for m, rule in enumerate(maps(webhook.get("rules"))):
            where = f"{path}.rules[{m}]"
            found += _rule(rule, where, _OPERATIONS) + _resources(
                _texts(rule, "resources"), f"{where}.resources"
            )
            found += one_of(rule.get("scope"), f"{where}.scope", ("*", "Cluster", "Namespaced"))
        for field, choices in _CHOICES:
            found += one_of(webhook.get(field), f"{path}.{field}", choices)
        if webhook.get("sideEffects") is None:
            found.append(errors.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
        for field in ("namespaceSelector", "objectSelector"):
            found += validate_label_selector(webhook.get(field), f"{path}.{field}")
        found += _conditions(maps(webhook.get("matchConditions")), f"{path}.matchConditions", stored)
        versions = _texts(webhook, "admissionReviewVersions")
        found += _review_versions(versions, f"{path}.admissionReviewVersions")
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
            where = f"{path}.rules[{m}]"
            found += _rule(rule, where, ("*", *_INTERPRETER_OPERATIONS))
            found += _listed(_texts(rule, "kinds"), f"{where}.kinds", "kinds")
    return found


def _webhooks(new: Object) -> list[FieldError]:
    """What holds of every webhook: a name of its own, an address, and a time that somebody waits."""
    found: list[FieldError] = []
    seen: set[str] = set()
    for n, webhook in enumerate(maps(new.get("webhooks"))):
        path, name = f"webhooks[{n}]", str(webhook.get("name") or "")
        found += _name(name, f"{path}.name")
        if name and name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
        found += _client(table(webhook.get("clientConfig")), f"{path}.clientConfig")
        timeout = webhook.get("timeoutSeconds")
        if isinstance(timeout, int) and not 1 <= timeout <= 30:
            told = "the timeout value must be between 1 and 30 seconds"
            found.append(errors.invalid(f"{path}.timeoutSeconds", timeout, told))
    return found


def _texts(parent: Mapping[str, Any], field: str) -> list[str]:
    values = parent.get(field)
    return [str(value) for value in values] if isinstance(values, list) else []


def _name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [errors.required(path)]
    if wrong := names.validate_subdomain(name):
        return [errors.invalid(path, name, ",".join(wrong))]
    if name.count(".") < 2:
        told = "should be a domain with at least three segments separated by dots"
        return [errors.invalid(path, name, told)]
    return []


def _review_versions(versions: Sequence[str], path: str) -> list[FieldError]:
    spoken = ", ".join(webhooks.REVIEW_VERSIONS)
    if not versions:
        return [errors.required(path, f"must specify one of {spoken}")]
    found: list[FieldError] = []
    for n, version in enumerate(versions):
        if version in versions[:n]:
            found.append(errors.invalid(f"{path}[{n}]", version, "duplicate version"))
            continue
        wrong = names.validate_label1035(version)
        found += [errors.invalid(f"{path}[{n}]", version, told) for told in wrong]
    if not any(version in webhooks.REVIEW_VERSIONS for version in versions):
        found.append(errors.invalid(path, versions, f"must include at least one of {spoken}"))
    return found


# --- rules -----------------------------------------------------------------------------------------------------


def _rule(rule: Mapping[str, Any], path: str, known: tuple[str, ...]) -> list[FieldError]:
    operations = _texts(rule, "operations")
    found = _listed(operations, f"{path}.operations", "operations", may_be_empty=True)
    for n, operation in enumerate(operations):
        found += one_of(operation, f"{path}.operations[{n}]", known)
    found += _listed(_texts(rule, "apiGroups"), f"{path}.apiGroups", "API groups", may_be_empty=True)
    return found + _listed(_texts(rule, "apiVersions"), f"{path}.apiVersions", "API versions")


def _listed(values: Sequence[str], path: str, noun: str, *, may_be_empty: bool = False) -> list[FieldError]:
    """Values, or a star alone."""
    if not values:
        return [errors.required(path)]
    found: list[FieldError] = []
    if len(values) > 1 and "*" in values:
        found.append(errors.invalid(path, values, f"if '*' is present, must not specify other {noun}"))
    if not may_be_empty:
        found += [errors.required(f"{path}[{n}]") for n, value in enumerate(values) if not value]
    return found


def _resources(resources: Sequence[str], path: str) -> list[FieldError]:
    if not resources:
        return [errors.required(path)]
    found: list[FieldError] = []
    whole: set[str] = set()
    everywhere: set[str] = set()
    for n, named in enumerate(resources):
        resource, slash, subresource = named.partition("/")
        if not named:
            found.append(errors.required(f"{path}[{n}]"))
        if not slash:
            continue
        if resource in whole:
            told = f"if '{resource}/*' is present, must not specify {named}"
            found.append(errors.invalid(f"{path}[{n}]", named, told))
        if subresource in everywhere:
            told = f"if '*/{subresource}' is present, must not specify {named}"
            found.append(errors.invalid(f"{path}[{n}]", named, told))
        if subresource == "*":
            whole.add(resource)
        if resource == "*":
            everywhere.add(subresource)
    if len(resources) > 1 and "*/*" in resources:
        told = "if '*/*' is present, must not specify other resources"
        found.append(errors.invalid(path, resources, told))
    if "*" in resources and any(named != "*" and "/" not in named for named in resources):
        told = "if '*' is present, must not specify other resources without subresources"
        found.append(errors.invalid(path, resources, told))
    return found


# --- conditions ------------------------------------------------------------------------------------------------


def _conditions(conditions: Sequence[Mapping[str, Any]], path: str, stored: set[str]) -> list[FieldError]:
    found: list[FieldError] = []
    if len(conditions) > CONDITIONS_MAX:
        told = f"Too many: {len(conditions)}: must have at most {CONDITIONS_MAX} items"
        return [FieldError(path, "FieldValueTooMany", told)]
    seen: set[str] = set()
    for n, condition in enumerate(conditions):
        where = f"{path}[{n}]"
        expression = str(condition.get("expression") or "").strip()
        if not expression:
            found.append(errors.required(f"{where}.expression"))
        elif expression not in stored:
            try:
                webhooks.condition(expression)
            except cel.CelError as error:
                told = f"compilation failed: {error}"
                found.append(errors.invalid(f"{where}.expression", expression, told))
        name = str(condition.get("name") or "")
        if not name:
            found.append(errors.required(f"{where}.name"))
        else:
            wrong = names.validate_qualified_name(name)
            found += [errors.invalid(f"{where}.name", name, told) for told in wrong]
            if name in seen:
                found.append(errors.duplicate(f"{where}.name", name))
        seen.add(name)
    return found


# --- where it is -----------------------------------------------------------------------------------------------


def _client(client: Mapping[str, Any], path: str) -> list[FieldError]:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        return [errors.required(path, "exactly one of url or service is required")]
    if url is not None:
        return _url(str(url), f"{path}.url")
    return _service(table(service), f"{path}.service")


def _url(url: str, path: str) -> list[FieldError]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return [errors.required(path, f"url must be a valid URL: {error}{_FORM}")]
    if re.search(r"[\x00-\x1f\x7f]", url) or " " in parts.netloc:
        return [errors.required(path, f"url must be a valid URL: it has spaces or control characters{_FORM}")]
    found: list[FieldError] = []
    if parts.scheme != "https":
        told = f"'https' is the only allowed URL scheme{_FORM}"
        found.append(errors.invalid(path, parts.scheme, told))
    if not parts.netloc:
        found.append(errors.invalid(path, parts.netloc, f"host must be specified{_FORM}"))
    if "@" in parts.netloc:
        told = "user information is not permitted in the URL"
        found.append(errors.invalid(path, parts.username, told))
    if parts.fragment:
        found.append(errors.invalid(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        found.append(errors.invalid(path, parts.query, "query parameters are not permitted in the URL"))
    return found


def _service(service: Mapping[str, Any], path: str) -> list[FieldError]:
    found = [errors.required(f"{path}.{field}") for field in ("name", "namespace") if not service.get(field)]
    port = service.get("port", 443)
    if isinstance(port, int) and not 1 <= port <= 65535:
        told = "port is not valid: must be between 1 and 65535, inclusive"
        found.append(errors.invalid(f"{path}.port", port, told))
    named = str(service.get("path") or "")
    where = f"{path}.path"
    if named in ("", "/"):
        return found
    if not named.startswith("/"):
        found.append(errors.invalid(where, named, "must start with a '/'"))
    for n, segment in enumerate(named[1:].removesuffix("/").split("/")):
        if not segment:
            found.append(errors.invalid(where, named, f"segment[{n}] may not be empty"))
            continue
        wrong = names.validate_subdomain(segment)
        found += [errors.invalid(where, named, f"segment[{n}]: {told}") for told in wrong]
    return found


def url_with_host(text: str) -> SplitResult | None:
    """The parts of a URL that has a host."""
    try:
        parts = urlsplit(text)
        return parts if parts.hostname else None
    except ValueError:
        return None
