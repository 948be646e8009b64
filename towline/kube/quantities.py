"""Kubernetes quantities (`500m`, `1.5Gi`, `1e3`) with exact arithmetic.

Own code because the one package that reads them (`kubernetes.utils`) brings a whole second client along and
does not write Kubernetes' canonical form. Fractions keep `0.1 + 0.2` exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache

_QUANTITY = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?\Z")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_WHOLE_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items() if power >= 0}
_DECIMAL_DOWN = sorted(((power, suffix) for suffix, power in _DECIMAL.items()), reverse=True)
_BINARY_DOWN = sorted(((shift, suffix) for suffix, shift in _BINARY.items()), reverse=True)
_EXPONENT_MAX = 30
"""Larger exponents mean nothing (Kubernetes caps at 2**63) and would only cost memory."""

_NANO = Fraction(1, 10**9)
_MAX = Fraction(2**63 - 1)


class QuantityError(ValueError):
    """Not a quantity."""


def parse(text: str | int | float) -> Fraction:
    """The exact value. Numbers are accepted, as in YAML's `cpu: 1`; what is finer than nano is rounded up and
    what is larger than 2**63-1 capped, as Kubernetes does. Raises QuantityError."""
    return _parse(text if isinstance(text, str) else _number(text))[0]


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Fraction, str]:
    """The value and the format: "binary", "decimal", "exponent"."""
    matched = _QUANTITY.match(text)
    if matched is None:
        raise QuantityError(f"not a quantity: {text[:40]!r}")
    sign, digits, suffix = matched[1], matched[2], matched[3] or ""
    value = Fraction(digits)
    style = "decimal"
    if suffix in _BINARY:
        value, style = value * 2 ** _BINARY[suffix], "binary"
    elif suffix in _DECIMAL:
        value *= Fraction(10) ** _DECIMAL[suffix]
    else:
        exponent = int(suffix[1:])
        if abs(exponent) > _EXPONENT_MAX:
            raise QuantityError(f"not a quantity: {text[:40]!r}")
        value, style = value * Fraction(10) ** exponent, "exponent"
    value = min(-(-value // _NANO) * _NANO, _MAX)
    return (-value if sign == "-" else value), style


def _number(value: int | float) -> str:
    if isinstance(value, bool) or (isinstance(value, float) and not abs(value) < float(_MAX)):
        raise QuantityError(f"not a quantity: {value!r}")
    return str(value) if isinstance(value, int) else format(value, ".9f").rstrip("0").rstrip(".")


def format_quantity(value: Fraction | int, style: str = "decimal") -> str:
    """The canonical form: the largest suffix that leaves a whole number. `style` is "decimal" (`500m`, `2k`),
    "binary" (`1536Mi`, for whole numbers from 1024; otherwise decimal) or "exponent" (`2e3`)."""
    if value == 0:
        return "0"
    if value.denominator == 1:
        return _format_whole(value.numerator, style)
    value = Fraction(value)
    for power, suffix in _DECIMAL_DOWN:
        scaled = value / Fraction(10) ** power
        if scaled.denominator == 1:
            if style == "exponent" and power:
                return f"{scaled.numerator}e{power}"
            return f"{scaled.numerator}{suffix}"
    return f"{-(-value // _NANO)}n"


def _format_whole(value: int, style: str) -> str:
    """Not 0. The same without fractions: most quantities are whole, and many are written often."""
    if style == "binary" and abs(value) >= 1024:
        for shift, suffix in _BINARY_DOWN:
            if value % (1 << shift) == 0:
                return f"{value >> shift}{suffix}"
        return str(value)
    power = 0
    while value % 1000 == 0 and power < 18:
        value, power = value // 1000, power + 3
    return f"{value}e{power}" if style == "exponent" and power else f"{value}{_WHOLE_SUFFIX[power]}"


def canonical(quantity: str | int | float) -> str | int | float:
    """`quantity` as Kubernetes stores it: `1000m` -> `1`, `0.5` -> `500m`, `1024Mi` -> `1Gi`, 2 -> `2`. What
    is no quantity stays as it is, for validation to complain about."""
    try:
        written = _canonical(quantity if isinstance(quantity, str) else _number(quantity))
    except QuantityError:
        return quantity
    return (
        quantity if written == quantity else written
    )  # the same object, so that unchanged objects stay shared


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return format_quantity(*_parse(text))


def add(quantities: Iterable[str | int | float]) -> str:
    """The sum, in the format of the first quantity that is not zero. "0" for none. Raises QuantityError."""
    total, style = Fraction(0), ""
    for quantity in quantities:
        value, own_style = _parse(quantity if isinstance(quantity, str) else _number(quantity))
        total += value
        if value and not style:
            style = own_style
    return format_quantity(total, style or "decimal")


def whole(quantity: str | int | float) -> int:
    """The value rounded up to a whole number, as `Quantity.Value()`. Raises QuantityError."""
    return -(-parse(quantity) // 1)


def milli(quantity: str | int | float) -> int:
    """The value in thousandths, rounded up, as `Quantity.MilliValue()`. Raises QuantityError."""
    return -(-(parse(quantity) * 1000) // 1)
