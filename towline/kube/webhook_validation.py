"""What a schema cannot say about webhook configurations, with Kubernetes' paths. What an old object had already is let be
where Kubernetes does so: expressions that are stored are not compiled again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from towline.kube import cel, errors, names, webhooks
from towline.kube.cells import at, maps
from towline.kube.objects import Object
from towline.kube.schemas import FieldError

CONDITIONS_MAX = 64

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_FORM = "; desired format: https://host[/path]"
_CHOICES = (
    ("failurePolicy", ("Fail", "Ignore")),
    ("matchPolicy", ("Equivalent", "Exact")),
    ("sideEffects", ("None", "NoneOnDryRun")),
    ("reinvocationPolicy", ("IfNeeded", "Never")),
)


def validate(new: Object, old: Object | None) -> list[FieldError]:
    """Of a ValidatingWebhookConfiguration or a MutatingWebhookConfiguration."""
    found: list[FieldError] = []
    seen: set[str] = set()
    stored = {
        str(condition.get("expression") or "").strip()
        for webhook in maps((old or {}).get("webhooks"))
        for condition in maps(webhook.get("matchConditions"))
    }
    for n, webhook in enumerate(maps(new.get("webhooks"))):
        path = f"webhooks[{n}]"
        found += _webhook(webhook, path, stored)
        name = str(webhook.get("name") or "")
        if name and name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
    return found


def _webhook(webhook: Mapping[str, Any], path: str, stored: set[str]) -> list[FieldError]:
    found = _name(str(webhook.get("name") or ""), f"{path}.name")
    for n, rule in enumerate(maps(webhook.get("rules"))):
        found += _rule(rule, f"{path}.rules[{n}]")
    for field, choices in _CHOICES:
        value = webhook.get(field)
        if value is not None and value not in choices:
            found.append(errors.unsupported(f"{path}.{field}", value, choices))
    if webhook.get("sideEffects") is None:
        found.append(errors.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
    timeout = webhook.get("timeoutSeconds")
    if isinstance(timeout, int) and not 1 <= timeout <= 30:
        told = "the timeout value must be between 1 and 30 seconds"
        found.append(errors.invalid(f"{path}.timeoutSeconds", timeout, told))
    for field in ("namespaceSelector", "objectSelector"):
        found += _selector(webhook.get(field), f"{path}.{field}")
    found += _client(webhook.get("clientConfig") or {}, f"{path}.clientConfig")
    found += _conditions(maps(webhook.get("matchConditions")), f"{path}.matchConditions", stored)
    return found + _review_versions(
        webhook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions"
    )


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


def _rule(rule: Mapping[str, Any], path: str) -> list[FieldError]:
    operations = rule.get("operations") or []
    found = _listed(operations, f"{path}.operations", "operations", may_be_empty=True)
    found += [
        errors.unsupported(f"{path}.operations[{n}]", operation, _OPERATIONS)
        for n, operation in enumerate(operations)
        if operation not in _OPERATIONS
    ]
    found += _listed(rule.get("apiGroups") or [], f"{path}.apiGroups", "API groups", may_be_empty=True)
    found += _listed(rule.get("apiVersions") or [], f"{path}.apiVersions", "API versions")
    found += _resources(rule.get("resources") or [], f"{path}.resources")
    scope = rule.get("scope")
    if scope is not None and scope not in ("*", "Cluster", "Namespaced"):
        found.append(errors.unsupported(f"{path}.scope", scope, ("*", "Cluster", "Namespaced")))
    return found


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


# --- selectors and conditions ----------------------------------------------------------------------------------


def _selector(selector: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for key, value in (at(selector, "matchLabels") or {}).items():
        where = f"{path}.matchLabels"
        found += [errors.invalid(where, key, told) for told in names.validate_qualified_name(key)]
        found += [errors.invalid(where, value, told) for told in names.validate_label_value(value)]
    for n, expression in enumerate(maps(at(selector, "matchExpressions"))):
        where = f"{path}.matchExpressions[{n}]"
        operator, values = expression.get("operator"), expression.get("values") or []
        if operator in ("In", "NotIn") and not values:
            told = "must be specified when `operator` is 'In' or 'NotIn'"
            found.append(errors.required(f"{where}.values", told))
        elif operator in ("Exists", "DoesNotExist") and values:
            told = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(errors.forbidden(f"{where}.values", told))
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            found.append(errors.invalid(f"{where}.operator", operator, "not a valid selector operator"))
        key = str(expression.get("key") or "")
        found += [errors.invalid(f"{where}.key", key, told) for told in names.validate_qualified_name(key)]
        for v, value in enumerate(values):
            wrong = names.validate_label_value(value)
            found += [errors.invalid(f"{where}.values[{v}]", value, told) for told in wrong]
    return found


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
    return _service(service or {}, f"{path}.service")


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
