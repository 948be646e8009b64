"""Quantities: Kubernetes' canonical forms, exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towline.kube.quantities import QuantityError, add, canonical, format_quantity, milli, parse, whole

CANONICAL: list[tuple[Any, str]] = [
    ("0", "0"),
    ("1", "1"),
    (1, "1"),
    (0.5, "500m"),
    (1.0, "1"),
    (1e-9, "1n"),
    ("1000m", "1"),
    ("500m", "500m"),
    ("0.1", "100m"),
    ("1.5Gi", "1536Mi"),
    ("1024Mi", "1Gi"),
    ("1Ki", "1Ki"),
    ("0.5Ki", "512"),
    ("1000Ki", "1000Ki"),
    ("1000k", "1M"),
    ("1.5k", "1500"),
    ("1e3", "1e3"),
    ("12e5", "1200e3"),
    ("1E6", "1e6"),
    ("-5", "-5"),
    ("+5", "5"),
    ("-500m", "-500m"),
    (".5", "500m"),
    ("5.", "5"),
    ("0.0000000001", "1n"),
    ("100E", "9223372036854775807"),
    ("0Gi", "0"),
    ("nonsense", "nonsense"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), CANONICAL)
def test_canonical(text: Any, expected: str) -> None:
    assert canonical(text) == expected
    assert canonical(canonical(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1KB", "1mi", "0x1", "1e", "e3", "--1", "1e99", "٣", True, float("nan"), float("inf")],
)
def test_not_quantities(text: Any) -> None:
    with pytest.raises(QuantityError):
        parse(text)


def test_values() -> None:
    assert parse("1.5Gi") == 3 * 2**29
    assert parse("250m") == Fraction(1, 4)
    assert (whole("1500m"), whole("-1500m"), whole("2")) == (2, -1, 2)
    assert (milli("1.0005"), milli("2")) == (1001, 2000)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([], "0"),
        (["100m", "200m"], "300m"),
        (["0.1", "0.2"], "300m"),
        (["1Gi", "512Mi"], "1536Mi"),
        (["0", "1Gi", "1"], "1073741825"),
        (["1k", "1Ki"], "2024"),
        ([1, "500m"], "1500m"),
    ],
)
def test_sums(terms: list[Any], expected: str) -> None:
    assert add(terms) == expected


amounts = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=1000).map(
    lambda f: Fraction(int(f * 10**9), 10**9)
)


@settings(max_examples=200, deadline=None)
@given(amounts, st.sampled_from(["decimal", "binary", "exponent"]))
def test_formatting_round_trips(value: Fraction, style: str) -> None:
    assert parse(format_quantity(value, style)) == value


@settings(max_examples=200, deadline=None)
@given(amounts, amounts)
def test_sums_are_exact(a: Fraction, b: Fraction) -> None:
    assert parse(add([format_quantity(a), format_quantity(b)])) == a + b
