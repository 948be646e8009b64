"""Resources that only answer: may I, may they, what may I (`kubectl auth can-i`), and who am I (`kubectl auth whoami`). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from towline.hub.api import status
from towline.hub.api.actions import Acted, Action, Actions
from towline.hub.api.authentication import Authorize
from towline.hub.api.paths import Attributes
from towline.hub.api.user import User
from towline.kube import errors, schemas
from towline.kube.cells import at, maps, table
from towline.kube.kinds import Kind
from towline.kube.objects import Object
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_requirement

AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"

Review = Callable[[Object, User, Authorize], Object]
"""(the object, who asks, who may) -> the fields that the answer sets. Raises 400, 422."""


def actions(authorize: Authorize) -> Actions:
    """What every API server offers."""
    return {
        (group, f"{kind.lower()}s", ""): _action(group, kind, review, authorize)
        for (group, kind), review in _REVIEWS.items()
    }


def _action(group: str, name: str, review: Review, authorize: Authorize) -> Action:
    schema = schemas.builtin(f"io.k8s.api.{group.partition('.')[0]}.v1.{name}")

    async def act(user: User, at: Attributes, obj: Object) -> Acted:
        return Acted({**obj, **review(obj, user, authorize)})

    kind = Kind(
        group,
        "v1",
        name,
        f"{name.lower()}s",
        namespaced=name.startswith("Local"),
        schema=schema,
        verbs=("create",),
    )
    return Action(kind, act)


def _self_access(obj: Object, user: User, authorize: Authorize) -> Object:
    spec = table(obj.get("spec"))
    _refuse(_attribute_errors(spec) + _metadata_errors(obj, "must be empty"))
    return _decided(spec, user, authorize)


def _access(obj: Object, user: User, authorize: Authorize) -> Object:
    spec = table(obj.get("spec"))
    _refuse(_attribute_errors(spec) + _subject_errors(spec) + _metadata_errors(obj, "must be empty"))
    return _decided(spec, _subject(spec), authorize)


def _local_access(obj: Object, user: User, authorize: Authorize) -> Object:
    spec, namespace = table(obj.get("spec")), str(obj["metadata"]["namespace"])
    found = _attribute_errors(spec) + _subject_errors(spec)
    found += _metadata_errors(obj, "must be empty except for namespace", "namespace")
    _refuse(found + _elsewhere(spec, namespace))
    return _decided(spec, _subject(spec), authorize)


def _rules(obj: Object, user: User, authorize: Authorize) -> Object:
    namespace = at(obj, "spec", "namespace")
    if not namespace:
        raise status.bad_request("no namespace on request")
    rules, wrong = authorize.rules_for(user, namespace)
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


def _self(obj: Object, user: User, authorize: Authorize) -> Object:
    return {"status": {"userInfo": user.info()}}


_REVIEWS: Mapping[tuple[str, str], Review] = {
    (AUTHORIZATION, "SelfSubjectAccessReview"): _self_access,
    (AUTHORIZATION, "SubjectAccessReview"): _access,
    (AUTHORIZATION, "LocalSubjectAccessReview"): _local_access,
    (AUTHORIZATION, "SelfSubjectRulesReview"): _rules,
    (AUTHENTICATION, "SelfSubjectReview"): _self,
}


# --- access ----------------------------------------------------------------------------------------------------


def _decided(spec: Mapping[str, Any], user: User, authorize: Authorize) -> Object:
    resource = spec.get("resourceAttributes")
    if resource is None:
        path = table(spec.get("nonResourceAttributes"))
        asked = Attributes(str(path.get("verb") or ""), str(path.get("path") or ""))
    else:
        fields = {field: str(resource.get(field) or "") for field in _FIELDS}
        asked = Attributes(fields.pop("verb"), "", True, **fields)
    decision = authorize(user, asked)
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


def _subject(spec: Mapping[str, Any]) -> User:
    extra = {key: tuple(values or ()) for key, values in table(spec.get("extra")).items()}
    return User(
        str(spec.get("user") or ""), tuple(spec.get("groups") or ()), str(spec.get("uid") or ""), extra
    )


def _subject_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [errors.invalid("spec.user", "", "at least one of user or group must be specified")]


def _metadata_errors(obj: Object, told: str, *allowed: str) -> list[FieldError]:
    """Nothing is stored, so nothing has a name."""
    allowed = ("managedFields", *allowed)
    metadata = {field: value for field, value in obj["metadata"].items() if field not in allowed and value}
    return [errors.invalid("metadata", metadata, told)] if metadata else []


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


def _refuse(found: list[FieldError]) -> None:
    if found:
        raise status.invalid_fields(AUTHORIZATION, "", "", found)  # Kubernetes names no kind here
