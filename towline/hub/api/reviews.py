"""Resources that only answer: may I, may they, what may I (`kubectl auth can-i`), and who am I (`kubectl auth whoami`). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from towline.hub.api import admission, claims, status
from towline.hub.api.authentication import Authorize
from towline.hub.api.paths import Attributes
from towline.hub.api.user import User
from towline.kube import errors, schemas
from towline.kube.cells import at, maps, table
from towline.kube.kinds import Kind
from towline.kube.objects import Object
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_requirement

__all__ = ["Asking", "Authorize", "review"]


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and where: `namespace` is the URL's; `validation` is fieldValidation."""

    user: User
    authorize: Authorize
    namespace: str = ""
    validation: str = "Warn"


def review(
    group_version: tuple[str, str], name: str, plural: str, obj: Object, asking: Asking
) -> tuple[Object, tuple[str, ...]]:
    """`obj`, of kind `name`, with its status, and warnings. Raises 400, 422."""
    group, version = group_version
    schema = schemas.builtin(f"io.k8s.api.{group.partition('.')[0]}.{version}.{name}")
    kind = Kind(group, version, name, plural, bool(asking.namespace), schema)
    obj = admission.check_envelope(kind, obj)
    pruned = schemas.prune(schema, obj)
    warnings = admission.reported(
        kind, admission.unknown_fields(kind, obj, pruned, asking.validation), asking.validation
    )
    admission.check_types(kind, schemas.validate(schema, pruned))
    if asking.namespace:
        pruned = claims.in_namespace(kind, pruned, asking.namespace)
    return {**pruned, **_REVIEWS[name](kind, pruned, asking)}, warnings


def _access(kind: Kind, obj: Object, asking: Asking) -> Object:
    """SelfSubjectAccessReview."""
    spec = table(obj.get("spec"))
    _refuse(kind, _attribute_errors(spec) + _metadata_errors(obj, ""))
    return _decided(spec, asking.user, asking)


def _access_of(kind: Kind, obj: Object, asking: Asking) -> Object:
    """SubjectAccessReview, LocalSubjectAccessReview."""
    spec = table(obj.get("spec"))
    found = _attribute_errors(spec)
    name, groups = str(spec.get("user") or ""), tuple(spec.get("groups") or ())
    if not name and not groups:
        message = "at least one of user or group must be specified"
        found.append(errors.invalid("spec.user", name, message))
    found += _metadata_errors(obj, asking.namespace)
    if asking.namespace:
        found += _elsewhere(spec, asking.namespace)
    _refuse(kind, found)
    extra = {key: tuple(values or ()) for key, values in table(spec.get("extra")).items()}
    return _decided(spec, User(name, groups, str(spec.get("uid") or ""), extra), asking)


def _rules(kind: Kind, obj: Object, asking: Asking) -> Object:
    """SelfSubjectRulesReview."""
    namespace = at(obj, "spec", "namespace")
    if not namespace:
        raise status.bad_request("no namespace on request")
    rules, wrong = asking.authorize.rules_for(asking.user, namespace)
    answer: dict[str, Any] = {
        "resourceRules": [rule._replace(urls=()).as_object() for rule in rules if rule.resources],
        "nonResourceRules": [
            {"verbs": list(rule.verbs), "nonResourceURLs": list(rule.urls)} for rule in rules if rule.urls
        ],
        "incomplete": False,
    }
    if wrong:
        answer["evaluationError"] = wrong
    return {"metadata": {}, "spec": {}, "status": answer}


def _subject(kind: Kind, obj: Object, asking: Asking) -> Object:
    """SelfSubjectReview."""
    return {"status": {"userInfo": asking.user.info()}}


_REVIEWS: Mapping[str, Callable[[Kind, Object, Asking], Object]] = {
    "SelfSubjectAccessReview": _access,
    "SubjectAccessReview": _access_of,
    "LocalSubjectAccessReview": _access_of,
    "SelfSubjectRulesReview": _rules,
    "SelfSubjectReview": _subject,
}


# --- access ----------------------------------------------------------------------------------------------------


def _decided(spec: Mapping[str, Any], user: User, asking: Asking) -> Object:
    resource = spec.get("resourceAttributes")
    if resource is None:
        path = table(spec.get("nonResourceAttributes"))
        asked = Attributes(str(path.get("verb") or ""), str(path.get("path") or ""))
    else:
        fields = {field: str(resource.get(field) or "") for field in _FIELDS}
        asked = Attributes(fields.pop("verb"), "", True, **fields)
    decision = asking.authorize(user, asked)
    answer: dict[str, Any] = {"allowed": decision.allowed}
    if decision.reason:
        answer["reason"] = decision.reason
    return {"spec": spec, "status": answer}


_FIELDS = ("verb", "group", "version", "resource", "subresource", "namespace", "name")


def _attribute_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    found: list[FieldError] = []
    if resource is not None and path is not None:
        message = "cannot be specified in combination with resourceAttributes"
        found.append(errors.invalid("spec.nonResourceAttributes", path, message))
    if resource is None and path is None:
        message = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        found.append(errors.invalid("spec.resourceAttributes", None, message))
    for field in ("fieldSelector", "labelSelector"):
        found += _selector_errors(at(resource, field), f"spec.resourceAttributes.{field}", field)
    return found


def _selector_errors(selector: Any, path: str, field: str) -> list[FieldError]:
    """RBAC does not look at selectors, but what cannot be one is refused."""
    if not isinstance(selector, Mapping):
        return []
    raw, requirements = selector.get("rawSelector"), maps(selector.get("requirements"))
    if raw and requirements:
        message = "may not specified at the same time as requirements"
        return [errors.invalid(f"{path}.rawSelector", raw, message)]
    if not raw and not requirements:
        message = f"when {path} is specified, requirements or rawSelector is required"
        return [errors.required(f"{path}.requirements", message)]
    found: list[FieldError] = []
    for n, term in enumerate(requirements):
        where = f"{path}.requirements[{n}]"
        if field == "labelSelector":
            found += validate_requirement(term, where, any_operator=True)
        elif not term.get("key"):
            found.append(errors.required(f"{where}.key", "must be specified"))
    return found


def _metadata_errors(obj: Object, namespace: str) -> list[FieldError]:
    """Nothing is stored, so nothing has a name."""
    metadata = {
        field: value for field, value in obj["metadata"].items() if field != "managedFields" and value
    }
    if namespace:
        metadata.pop("namespace", None)
    if not metadata:
        return []
    told = "must be empty except for namespace" if namespace else "must be empty"
    return [errors.invalid("metadata", metadata, told)]


def _elsewhere(spec: Mapping[str, Any], namespace: str) -> list[FieldError]:
    """What a LocalSubjectAccessReview may not ask for: anything outside its namespace."""
    found: list[FieldError] = []
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    asked = str(at(resource, "namespace") or "")
    if resource is not None and asked != namespace:
        message = "must match metadata.namespace"
        found.append(errors.invalid("spec.resourceAttributes.namespace", asked, message))
    if path is not None:
        message = "disallowed on this kind of request"
        found.append(errors.invalid("spec.nonResourceAttributes", path, message))
    return found


def _refuse(kind: Kind, found: list[FieldError]) -> None:
    if found:
        refusal = status.invalid(kind, "", found)
        del refusal.details["kind"]  # Kubernetes names none here
        raise refusal
