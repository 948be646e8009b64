"""Webster's method: Karmada's vectors, any number of seats, and every small division against the definition (Karmada 3.5)."""

from __future__ import annotations

import itertools
import random
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.dividing import (
    EVEN,
    MOST,
    ODD,
    Webster,
)
from towline.hub.decide.scheduling.division import divide
from towline.kube.names import fnv32a


def test_the_uids_of_these_tests_hash_as_they_say() -> None:
    assert fnv32a(EVEN) & 1 == 0 and fnv32a(ODD) & 1 == 1


@pytest.mark.parametrize(
    ("weights", "count", "uid", "expected"),
    [
        pytest.param({"Alpha": 1200, "Beta": 900, "Gamma": 400}, 4, EVEN, [2, 1, 1], id="three parties"),
        pytest.param({"A": 100000, "B": 80000, "C": 30000, "D": 20000}, 8, EVEN, [3, 3, 1, 1], id="four parties"),
        pytest.param({"m1": 1, "m2": 1}, 3, EVEN, [2, 1], id="a tie goes to the first name"),
        pytest.param({"m1": 1, "m2": 1}, 3, ODD, [1, 2], id="a tie goes to the last name where the uid's hash is odd"),
        pytest.param({"m1": 1, "m2": 1}, 3, "", [2, 1], id="without a uid ties go to the first name"),
        pytest.param({"m1": 2, "m2": 1, "m3": 1}, 7, EVEN, [3, 2, 2], id="a tie goes to who has fewer seats"),
        pytest.param({"m1": 6, "m2": 10, "m3": 1}, 10, EVEN, [3, 6, 1], id="a small weight gets its seat"),
        pytest.param({"m1": 12, "m2": 3}, 9, EVEN, [7, 2], id="twelve to three"),
        pytest.param({"m1": 12, "m2": 3, "m3": 1}, 2, EVEN, [2, 0, 0], id="fewer seats than parties"),
        pytest.param({"m1": 0, "m2": 0}, 5, EVEN, [0, 0], id="no weight, no seats"),
        *(
            pytest.param({f"m{i}": i for i in range(1, k + 1)}, k * (k + 1) // 2, EVEN, list(range(1, k + 1)), id=f"weights 1 to {k}, as many seats")
            for k in range(1, 9)
        ),
    ],
)  # fmt: skip
def test_webster(weights: dict[str, int], count: int, uid: str, expected: list[int]) -> None:
    assert list(divide(count, weights, uid).items()) == list(zip(sorted(weights), expected, strict=True))


def test_webster_keeps_seats_held_before() -> None:
    assert divide(2, {"m1": 1, "m2": 1}, EVEN, {"m1": 3, "old": 1}) == {"m1": 3, "m2": 2, "old": 1}


def test_capped_nobody_gets_more_than_its_weight_on_top() -> None:
    weights, held = {"m1": 3, "m2": 10}, {"m2": 100}
    assert divide(10, weights, EVEN, held) == {"m1": 10, "m2": 100}
    assert divide(10, weights, EVEN, held, capped=True) == {"m1": 3, "m2": 107}
    assert divide(99, weights, EVEN, held, capped=True) == {"m1": 3, "m2": 110}


SEATS_WON = st.dictionaries(
    st.sampled_from([f"m{i}" for i in range(9)]), st.integers(0, 1000), min_size=1, max_size=8
)


@cases(300)
@given(SEATS_WON, st.integers(0, 200), st.sampled_from([EVEN, ODD, ""]), st.randoms())
def test_division_gives_out_everything_whatever_the_order(
    weights: dict[str, int], count: int, uid: str, shuffler: random.Random
) -> None:
    result = divide(count, weights, uid)
    assert sum(result.values()) == (count if any(weights.values()) else 0)
    assert all(weights[name] or not seats for name, seats in result.items())
    shuffled = list(weights.items())
    shuffler.shuffle(shuffled)
    assert divide(count, dict(shuffled), uid) == result
    bigger = divide(count + 1, weights, uid)
    assert all(bigger[name] >= seats for name, seats in result.items()), "one more replica moves none"


@cases(300)
@given(SEATS_WON, SEATS_WON, st.integers(0, 3000), st.sampled_from([EVEN, ODD]), st.booleans())
def test_many_seats_are_dealt_as_one_by_one(
    weights: dict[str, int], held: dict[str, int], count: int, uid: str, capped: bool
) -> None:
    expected = Webster(weights, uid, held, capped)
    for _ in range(count):
        expected.deal()
    assert divide(count, weights, uid, held, capped=capped) == expected.seats


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("held", [{}, {"m1": 2**20, "m2": 1}], ids=["from none", "on top"])
@pytest.mark.parametrize("weights", [
    {f"m{i}": 1 for i in range(1000)},
    {f"m{i}": i * i * 5000 for i in range(1000)},
    {"m1": 2**63 - 1, "m2": 1, "m3": 2**31},
    {"m1": 2**31},
], ids=["equal", "various", "extreme", "one"])  # fmt: skip
def test_the_largest_wish_is_divided_at_once(
    weights: dict[str, int], held: dict[str, int], capped: bool
) -> None:
    count = min(2**31 - 1, sum(weights.values())) if capped else 2**31 - 1
    began = process_time()
    assert sum(divide(count, weights, EVEN, held, capped=capped).values()) == count + sum(held.values())
    assert process_time() - began < 2, "not one by one: that takes half an hour"


def test_every_small_division_from_none() -> None:
    for parties, uid in itertools.product(range(1, 7), (EVEN, ODD)):
        for chosen in itertools.product((0, 1, 2, 5), repeat=parties):
            weights = {f"m{i}": weight for i, weight in enumerate(chosen)}
            expected = Webster(weights, uid)
            for count in range(MOST + 1):
                assert divide(count, weights, uid) == expected.seats, (weights, count, uid)
                expected.deal()


@pytest.mark.parametrize("capped", [False, True])
def test_every_small_division_on_top(capped: bool) -> None:
    for chosen in itertools.combinations_with_replacement(
        list(itertools.product((0, 1, 2, 7), (0, 1, 4))), 4
    ):
        weights = {f"m{i}": weight for i, (weight, _) in enumerate(chosen)}
        held = {f"m{i}": seats for i, (_, seats) in enumerate(chosen)}
        expected = Webster(weights, ODD, held, capped)
        for count in range(MOST + 1):
            assert divide(count, weights, ODD, held, capped=capped) == expected.seats, (weights, held, count)
            expected.deal()
