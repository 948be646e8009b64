"""Field errors in Kubernetes' words. Clients match the reasons, people search for the texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from towline.kube.schemas import FieldError

IMMUTABLE = "field is immutable"
_SHOWN_MAX = 200


def required(path: str, message: str = "") -> FieldError:
    return FieldError(
        path, "FieldValueRequired", f"Required value: {message}" if message else "Required value"
    )


def invalid(path: str, value: Any, message: str) -> FieldError:
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {message}")


def unsupported(path: str, value: Any, supported: Iterable[str]) -> FieldError:
    options = ", ".join(_shown(option) for option in supported)
    return FieldError(
        path, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {options}"
    )


def duplicate(path: str, value: Any) -> FieldError:
    return FieldError(path, "FieldValueDuplicate", f"Duplicate value: {_shown(value)}")


def forbidden(path: str, message: str) -> FieldError:
    return FieldError(path, "FieldValueForbidden", f"Forbidden: {message}")


def not_found(path: str, value: Any) -> FieldError:
    return FieldError(path, "FieldValueNotFound", f"Not found: {_shown(value)}")


def _shown(value: Any) -> str:
    text = orjson.dumps(value, default=str).decode()
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
