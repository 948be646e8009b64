"""Amounts in base units: rounding against the promise, and back to quantities; grades of nodes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.kube import amounts
from towline.kube.grades import Grade, Scale, grades_of
from towline.kube.karmada_defaults import default_models
from towline.kube.quantities import parse


@pytest.mark.parametrize(
    ("name", "text", "needed", "offered"),
    [
        pytest.param("cpu", "1", 1000, 1000, id="cpu is counted in thousandths"),
        pytest.param("cpu", "250m", 250, 250, id="milli"),
        pytest.param("cpu", "1500u", 2, 1, id="finer than a thousandth is rounded against the promise"),
        pytest.param("memory", "64Mi", 64 << 20, 64 << 20, id="bytes"),
        pytest.param("memory", "100m", 1, 0, id="less than a byte"),
        pytest.param("nvidia.com/gpu", "2", 2, 2, id="pieces"),
        pytest.param("cpu", 2, 2000, 2000, id="a number, as YAML has it"),
        pytest.param("memory", "lots", None, None, id="what is no quantity counts as nothing"),
        pytest.param("memory", None, None, None, id="null counts as nothing"),
        pytest.param("memory", ["1"], None, None, id="a list counts as nothing"),
    ],
)
def test_base_units(name: str, text: Any, needed: int | None, offered: int | None) -> None:
    assert amounts.needed({name: text}) == ({} if needed is None else {name: needed})
    assert amounts.offered({name: text}) == ({} if offered is None else {name: offered})


@pytest.mark.parametrize(
    ("name", "amount", "text"),
    [
        ("cpu", 3500, "3500m"),
        ("cpu", 4000, "4"),
        ("cpu", 0, "0"),
        ("memory", 16393244 * 1024, "16393244Ki"),
        ("memory", 48 << 30, "48Gi"),
        ("memory", 1000, "1k"),
        ("ephemeral-storage", 100 << 30, "100Gi"),
        ("hugepages-2Mi", 4 << 20, "4Mi"),
        ("pods", 110, "110"),
        ("pods", 3000, "3k"),
        ("nvidia.com/gpu", 1024, "1024"),
    ],
)
def test_quantities_are_written_as_kubernetes_does(name: str, amount: int, text: str) -> None:
    assert amounts.quantity(name, amount) == text


@cases(200)
@given(st.sampled_from(["cpu", "memory", "pods"]), st.integers(0, 2**62))
def test_what_is_written_is_read_again(name: str, amount: int) -> None:
    if name == "cpu":
        amount //= 1000  # quantities end at 2**63-1, in whole cores
    text = amounts.quantity(name, amount)
    assert amounts.needed({name: text}) == amounts.offered({name: text}) == {name: amount}
    assert parse(text) * (1000 if name == "cpu" else 1) == amount


GIB = 1 << 30
DEFAULT = grades_of({"spec": {"resourceModels": default_models()}})


@pytest.mark.parametrize(
    ("cpu", "memory", "grade"),
    [
        (0, 0, 0),
        (999, 3 * GIB, 0),
        (1000, 4 * GIB, 1),
        (64_000, 3 * GIB, 0),
        (1500, 512 * GIB, 1),
        (8000, 64 * GIB, 4),
        (200_000, 2048 * GIB, 8),
        (-1000, 64 * GIB, 0),
    ],
)
def test_a_grade_is_the_highest_that_all_resources_reach(cpu: int, memory: int, grade: int) -> None:
    left = {"cpu": cpu, "memory": memory}
    assert Scale(DEFAULT).place(lambda name: left[name]) == grade


@pytest.mark.parametrize(
    ("models", "grades"),
    [
        (None, ()),
        ("x", ()),
        (
            [{"grade": 3, "ranges": [{"name": "cpu", "min": "0", "max": "2"}]},
             {"grade": 7, "ranges": [{"name": "cpu", "min": "1500m", "max": "4"}]}],
            (Grade(3, {"cpu": 0}), Grade(7, {"cpu": 1500})),
        ),
        ([{"ranges": [{"name": "cpu", "min": "?"}]}], (Grade(0, {}),)),
    ],
    ids=["absent", "ill-typed", "two", "no quantity"],
)  # fmt: skip
def test_grades_are_read_from_the_cluster(models: Any, grades: tuple[Grade, ...]) -> None:
    assert grades_of({"spec": {"resourceModels": models}}) == grades


def test_without_grades_there_is_nothing_to_reach() -> None:
    assert Scale(()).place(lambda name: 1) == 0
