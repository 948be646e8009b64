"""What Events must satisfy beyond their schemas: loosely in core/v1, strictly in events.k8s.io/v1.

Both hooks get the stored form (core/v1), and stand objects of any shape.
"""

from __future__ import annotations

from towline.kube import errors, names
from towline.kube.cells import at, table
from towline.kube.objects import Object
from towline.kube.schemas import FieldError

_WORD_LENGTH_MAX = 128
_MESSAGE_LENGTH_MAX = 1024
_TYPES = ("Normal", "Warning")
_DEPRECATED = ("firstTimestamp", "lastTimestamp", "count", "source")
_SETTLED = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type",
    "eventTime", "action", "related", "reportingInstance",
)  # fmt: skip
"""What an update in events.k8s.io/v1 may not change: it counts, and says when, and no more."""


def validate_core_event(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of core/v1 Event."""
    return _sensible(new, "reportingComponent")


def validate_event(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of events.k8s.io/v1 Event."""
    found = _sensible(new, "reportingController")
    if old is not None:
        changed = [field for field in _SETTLED if new.get(field) != old.get(field)]
        found += [errors.invalid(field, new.get(field), errors.IMMUTABLE) for field in changed]
        if new.get("reportingComponent") != old.get("reportingComponent"):
            found.append(
                errors.invalid("reportingController", new.get("reportingComponent"), errors.IMMUTABLE)
            )
        return found + (_series(new) if new.get("series") != old.get("series") else [])
    if not new.get("eventTime"):
        found.append(errors.required("eventTime"))
    if new.get("type") not in _TYPES:
        found.append(errors.invalid("type", "", f"has invalid value: {new.get('type') or ''}"))
    found += [errors.invalid(field, "", "needs to be unset") for field in _DEPRECATED if new.get(field)]
    return found + _series(new)


def _series(new: Object) -> list[FieldError]:
    series, found = new.get("series"), []
    if series is not None:
        if isinstance(at(series, "count") or 0, int) and (at(series, "count") or 0) < 2:
            found.append(errors.invalid("series.count", "", "should be at least 2"))
        if not at(series, "lastObservedTime"):
            found.append(errors.required("series.lastObservedTime"))
    return found


def _sensible(new: Object, controller_field: str) -> list[FieldError]:
    """What holds of every event. One with an eventTime is of the new style, and says who did what."""
    namespace = str(at(new, "metadata", "namespace") or "")
    about = str(table(new.get("involvedObject")).get("namespace") or "")
    modern = bool(new.get("eventTime"))
    nowhere = ("", "default", "kube-system") if modern else ("", "default")
    found: list[FieldError] = []
    if (namespace not in nowhere) if not about else (about != namespace and not modern):
        found.append(errors.invalid("involvedObject.namespace", about, "does not match event.namespace"))
    if not modern:
        return found
    controller = str(new.get("reportingComponent") or "")
    if not controller:
        found.append(errors.required(controller_field))
    found += [
        errors.invalid(controller_field, controller, m) for m in names.validate_qualified_name(controller)
    ]
    for field in ("reportingInstance", "action", "reason"):
        text = str(new.get(field) or "")
        if not text:
            found.append(errors.required(field))
        elif len(text) > _WORD_LENGTH_MAX:
            found.append(errors.invalid(field, "", f"can have at most {_WORD_LENGTH_MAX} characters"))
    if len(str(new.get("message") or "")) > _MESSAGE_LENGTH_MAX:
        found.append(errors.invalid("message", "", f"can have at most {_MESSAGE_LENGTH_MAX} characters"))
    return found
