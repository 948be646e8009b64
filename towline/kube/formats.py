"""The formats of texts that Kubernetes checks in the schemas of CRDs, beside those that JSON Schema defines. Pure."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final

_DURATION = r"[+-]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w))*)"
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_UUID = "[0-9a-f]{8}-?[0-9a-f]{4}-?%s[0-9a-f]{3}-?%s[0-9a-f]{3}-?[0-9a-f]{12}"
_RGB = r"\s*([0-9]{1,2}|1[0-9]{2}|2[0-4][0-9]|25[0-5])\s*"


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: compiled.fullmatch(text) is not None


def _base64(text: str) -> bool:
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:
        return False
    return True


def _cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _digits(text: str) -> str:
    return re.sub(r"[\s-]", "", text)


def _isbn10(text: str) -> bool:
    digits = _digits(text)
    if not re.fullmatch(r"[0-9]{9}[0-9Xx]", digits):
        return False
    values = [10 if d in "Xx" else int(d) for d in digits]
    return sum(value * (10 - n) for n, value in enumerate(values)) % 11 == 0


def _isbn13(text: str) -> bool:
    digits = _digits(text)
    weighed = sum(int(d) * (3 if n % 2 else 1) for n, d in enumerate(digits) if d.isdigit())
    return re.fullmatch(r"[0-9]{13}", digits) is not None and weighed % 10 == 0


def _creditcard(text: str) -> bool:
    digits = re.sub(r"[^0-9]", "", text)
    doubled = [int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
    return (
        re.fullmatch(r"[0-9]{13,16}", digits) is not None and sum(d // 10 + d % 10 for d in doubled) % 10 == 0
    )


_is_duration = _matches(_DURATION)

CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "bsonobjectid": _matches("[0-9a-f]{24}"),
    "byte": _base64,
    "cidr": _cidr,
    "creditcard": _creditcard,
    "duration": lambda text: _is_duration(text.replace(" ", "")),
    "hexcolor": _matches("#?([0-9a-f]{3}|[0-9a-f]{6})"),
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "k8s-long-name": lambda text: len(text) <= 253 and re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text) is not None,
    "k8s-short-name": lambda text: re.fullmatch(_LABEL, text) is not None,
    "mac": _matches(r"([0-9a-f]{2}[:-]){5}([0-9a-f]{2}[:-]){0,14}[0-9a-f]{2}|([0-9a-f]{4}\.){2,9}[0-9a-f]{4}"),
    "rgbcolor": _matches(rf"rgb\({_RGB},{_RGB},{_RGB}\)"),
    "ssn": _matches(r"[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}"),
    "uuid": _matches(_UUID % ("[0-9a-f]", "[0-9a-f]")),
    "uuid3": _matches(_UUID % ("3", "[0-9a-f]")),
    "uuid4": _matches(_UUID % ("4", "[89ab]")),
    "uuid5": _matches(_UUID % ("5", "[89ab]")),
}  # fmt: skip
"""What says of a text whether it has the format."""

CHECKED: Final = frozenset({*CHECKS, "date", "date-time", "email", "hostname", "ipv4", "ipv6", "uri"})
KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "string": CHECKED | {"datetime", "password"},
    "integer": frozenset({"int32", "int64"}),
    "number": frozenset({"float", "double"}),
}
"""By type. Others mean nothing, which the author of a CRD is told."""
