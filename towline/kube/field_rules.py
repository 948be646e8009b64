"""Rules that fields of many kinds share, in Kubernetes' words. Every one answers errors at `path`, and passes over values of
the wrong type: the schema reports those."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from towline.kube import errors
from towline.kube.cells import at
from towline.kube.objects import Object
from towline.kube.quantities import QuantityError, parse
from towline.kube.schemas import FieldError

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PERCENT = re.compile(r"[0-9]+%")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_PORT_NAME_LENGTH_MAX = 15


def not_negative(value: Any, path: str) -> list[FieldError]:
    if isinstance(value, int) and value < 0:
        return [errors.invalid(path, value, "must be greater than or equal to 0")]
    return []


def one_of(value: Any, path: str, options: Iterable[str]) -> list[FieldError]:
    """A value that is given is one of these."""
    known = tuple(options)
    return [] if value is None or value in known else [errors.unsupported(path, value, known)]


def unchanged(
    new: Object, old: Object | None, *path: str, message: str = errors.IMMUTABLE
) -> list[FieldError]:
    """What is at `path` never changes."""
    if old is None or at(new, *path) == at(old, *path):
        return []
    return [errors.invalid(".".join(path), at(new, *path), message)]


def amount(value: Any) -> Fraction | None:
    """A quantity's value; None for what is none."""
    try:
        return None if value is None else Fraction(parse(value))
    except (QuantityError, TypeError):
        return None


# --- numbers and ports ---------------------------------------------------------------------------------------------


def port(value: Any, path: str) -> list[FieldError]:
    if value is None:
        return [errors.required(path)]
    if isinstance(value, int) and not 1 <= value <= 65535:
        return [errors.invalid(path, value, "must be between 1 and 65535, inclusive")]
    return []


def port_name(name: str, path: str) -> list[FieldError]:
    found = []
    if len(name) > _PORT_NAME_LENGTH_MAX:
        found.append(f"must be no more than {_PORT_NAME_LENGTH_MAX} characters")
    if not _PORT_NAME.fullmatch(name):
        found.append(
            "must contain only alpha-numeric characters (a-z, 0-9), single hyphens between them, and a letter"
        )
    return [errors.invalid(path, name, message) for message in found]


def port_or_name(value: Any, path: str) -> list[FieldError]:
    """A number, or the name of a container's port."""
    return port_name(value, path) if isinstance(value, str) else port(value, path)


def int_or_percent(value: Any, path: str, *, bounded: bool = False) -> list[FieldError]:
    """`3` or `25%`; not more than all of it where that is the bound."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            message = "a valid percent string must be a numeric string followed by an ending '%'"
            return [errors.invalid(path, value, message)]
        if bounded and int(value[:-1]) > 100:
            return [errors.invalid(path, value, "must not be greater than 100%")]
        return []
    return not_negative(value, path)


# --- addresses and selectors ---------------------------------------------------------------------------------------


def address(value: Any, path: str, version: int | None = None) -> list[FieldError]:
    """An IP address, of a version if one is given."""
    try:
        found = ipaddress.ip_address(str(value))
    except ValueError:
        return [errors.invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    if version is not None and found.version != version:
        return [errors.invalid(path, value, f"must be an IPv{version} address")]
    return []


def is_address(text: str) -> bool:
    return not address(text, "")
