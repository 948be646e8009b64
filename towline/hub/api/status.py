"""Errors as clients of Kubernetes expect them: a `Status` with a reason, and details that name the field.

Codes, reasons and the first words of messages are Kubernetes' own, because client libraries and people's scripts
match on them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from towline.kube.kinds import Kind
from towline.kube.objects import Object
from towline.kube.schemas import FieldError


class StatusError(Exception):
    """An answer that is not a success. `details` is the Status' details; `headers` and `warnings` go into
    the HTTP answer. Only what a webhook answers may lack a reason."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self.headers = dict(headers or {})
        self.metadata: Object = {}
        self.warnings: tuple[str, ...] = ()

    def body(self) -> Object:
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def encoded(self) -> bytes:
        body = self.body()
        try:
            return orjson.dumps(body)
        except TypeError:  # a URL or header with bytes that are no text, told back
            return json.dumps(body).encode()


def success(kind: Kind, name: str, uid: str) -> Object:
    """What a deletion answers when the object is gone at once."""
    details = _of(kind, name, kind.plural)
    details["uid"] = uid
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


# --- the client asked for something that is not there ----------------------------------------------------------


def unknown_resource() -> StatusError:
    """No such path, group, version or resource."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def not_found(kind: Kind, name: str) -> StatusError:
    return StatusError(404, "NotFound", f'{kind.qualified} "{name}" not found', _of(kind, name, kind.plural))


def method_not_allowed(message: str, details: Mapping[str, Any] | None = None) -> StatusError:
    return StatusError(405, "MethodNotAllowed", message, details)


def verb_not_supported(kind: Kind, verb: str) -> StatusError:
    message = f"{verb} is not supported on resources of kind {kind.qualified!r}".replace("'", '"')
    return method_not_allowed(message)


def not_acceptable(offered: Sequence[str]) -> StatusError:
    return StatusError(406, "NotAcceptable", f"only these media types are offered: {', '.join(offered)}")


def unsupported_media_type(content_type: str, accepted: Sequence[str]) -> StatusError:
    message = f"the body's media type {content_type!r} is not supported; send one of {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", message)


# --- the client sent something wrong ---------------------------------------------------------------------------


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def too_large(limit_bytes: int) -> StatusError:
    return StatusError(
        413, "RequestEntityTooLarge", f"the request is larger than the limit of {limit_bytes} bytes"
    )


def invalid(kind: Kind, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422 with one cause a field. The message lists them as kubectl users know them."""
    return invalid_fields(kind.group, kind.kind, name, errors)


def invalid_fields(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """`invalid`, for what has no row."""
    causes = [{"reason": e.reason, "message": e.message, "field": e.path} for e in errors]
    listed = [f"{e.path}: {e.message}" if e.path else e.message for e in errors]
    told = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
    named = (("name", name), ("group", group), ("kind", kind))
    details: dict[str, Any] = {field: text for field, text in named if text}
    label = f"{kind}.{group}" if group else kind
    return StatusError(422, "Invalid", f'{label} "{name}" is invalid: {told}', {**details, "causes": causes})


def invalid_patch(message: str) -> StatusError:
    """422 for a patch that leads to no object of the kind."""
    cause = {"reason": "FieldValueInvalid", "message": message, "field": "patch"}
    return StatusError(422, "Invalid", f"the patched object is invalid: {message}", {"causes": [cause]})


def invalid_options(kind: str, option: str, reason: str, message: str) -> StatusError:
    """422 for an option of a request in the query or, of a delete, in the body. `kind` is the options' own:
    CreateOptions, UpdateOptions, PatchOptions, DeleteOptions, ListOptions."""
    return all_invalid(kind, (FieldError(option, reason, message),))


def all_invalid(kind: str, found: Sequence[FieldError]) -> StatusError:
    """422 for several options of a request."""
    causes = [{"reason": e.reason, "message": e.message, "field": e.path} for e in found]
    told = ", ".join(f"{e.path}: {e.message}" for e in found)
    if len(found) > 1:
        told = f"[{told}]"
    details = {"group": "meta.k8s.io", "kind": kind, "causes": causes}
    return StatusError(422, "Invalid", f'{kind}.meta.k8s.io "" is invalid: {told}', details)


# --- the client is not allowed to ------------------------------------------------------------------------------


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: str, group: str, name: str, message: str) -> StatusError:
    label = f"{resource}.{group}" if group else resource
    details = {"name": name, "group": group, "kind": resource}
    text = f'{label} "{name}" is forbidden: {message}' if name else f"{label} is forbidden: {message}"
    return StatusError(403, "Forbidden", text, {k: v for k, v in details.items() if v})


def forbidden_path(user: str, verb: str, path: str) -> StatusError:
    return StatusError(403, "Forbidden", f'forbidden: User "{user}" cannot {verb} path "{path}"')


def namespace_terminating(kind: Kind, name: str, namespace: str) -> StatusError:
    error = forbidden(
        kind.plural,
        kind.group,
        name,
        f"unable to create new content in namespace {namespace} because it is being terminated",
    )
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    error.details["causes"] = [cause]
    return error


# --- somebody else was first -----------------------------------------------------------------------------------


def already_exists(kind: Kind, name: str) -> StatusError:
    details = _of(kind, name, kind.plural)
    return StatusError(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', details)


def conflict(kind: Kind, name: str, why: str = "") -> StatusError:
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _of(kind, name, kind.plural))


def apply_conflict(message: str, conflicts: Sequence[tuple[str, str]]) -> StatusError:
    """Server-side apply met fields of other managers: `conflicts` are (field path, with whom)."""
    causes = [
        {"reason": "FieldManagerConflict", "message": message, "field": path} for path, message in conflicts
    ]
    return StatusError(409, "Conflict", message, {"causes": causes})


def expired(message: str) -> StatusError:
    """The history that was asked for is gone; the client lists again."""
    return StatusError(410, "Expired", message)


# --- the server cannot now -------------------------------------------------------------------------------------


def too_many_requests(message: str, retry_after_seconds: int = 1) -> StatusError:
    return StatusError(
        429,
        "TooManyRequests",
        message,
        {"retryAfterSeconds": retry_after_seconds},
        {"Retry-After": str(retry_after_seconds)},
    )


def unavailable(message: str, retry_after_seconds: int = 1) -> StatusError:
    return StatusError(
        503,
        "ServiceUnavailable",
        message,
        {"retryAfterSeconds": retry_after_seconds},
        {"Retry-After": str(retry_after_seconds)},
    )


def timed_out(message: str, retry_after_seconds: int = 1) -> StatusError:
    """The outcome is not known: it may or may not have happened."""
    return StatusError(504, "Timeout", message, {"retryAfterSeconds": retry_after_seconds})


def too_large_revision(wanted: int, current: int) -> StatusError:
    error = timed_out(f"Too large resource version: {wanted}, current: {current}")
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    error.details["causes"] = [cause]
    return error


def internal(incident: str) -> StatusError:
    """Our own fault. `incident` is the id under which the log has the cause."""
    return StatusError(500, "InternalError", f"Internal error occurred: see the hub's log for {incident}")


def internal_error(why: str) -> StatusError:
    """Something that this server needs for its answer failed, and the client may know it."""
    message = f"Internal error occurred: {why}"
    return StatusError(500, "InternalError", message, {"causes": [{"message": why}]})


def _of(kind: Kind, name: str, noun: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if kind.group:
        details["group"] = kind.group
    details["kind"] = noun
    return details
