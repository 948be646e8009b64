"""Resources that only answer: may I (`kubectl auth can-i`), and who am I (`kubectl auth whoami`). Pure."""

from __future__ import annotations

from typing import Any

from towline.hub.api import status
from towline.hub.api.authentication import Authorize
from towline.hub.api.paths import Attributes
from towline.hub.api.user import User
from towline.kube.objects import Object

__all__ = ["Authorize", "review"]


def review(kind: str, obj: Object, user: User, authorize: Authorize) -> Object:
    """`obj` with its status. Raises 400."""
    return {**obj, **_REVIEWS[kind](obj, user, authorize)}


def _access(obj: Object, user: User, authorize: Authorize) -> Object:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        raise status.bad_request("spec: Required value: a SelfSubjectAccessReview asks in its spec")
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(resource, dict) == isinstance(other, dict):
        raise status.bad_request(
            "spec: exactly one of resourceAttributes and nonResourceAttributes must be specified"
        )
    decision = authorize(user, _asked(resource if isinstance(resource, dict) else None, other))
    answer: dict[str, Any] = {"allowed": decision.allowed}
    if decision.reason:
        answer["reason"] = decision.reason
    return {"spec": spec, "status": answer}


def _asked(resource: dict[str, Any] | None, other: Any) -> Attributes:
    if resource is None:
        return Attributes(str(other.get("verb", "")), str(other.get("path", "")))
    asked = {field: str(resource.get(field) or "") for field in _FIELDS}
    return Attributes(asked.pop("verb"), "", True, **asked)


_FIELDS = ("verb", "group", "version", "resource", "subresource", "namespace", "name")


def _subject(obj: Object, user: User, authorize: Authorize) -> Object:
    return {"status": {"userInfo": user.info()}}


_REVIEWS = {"SelfSubjectAccessReview": _access, "SelfSubjectReview": _subject}
