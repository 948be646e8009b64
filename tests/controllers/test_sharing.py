"""How sessions spread again over the hubs of one store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.hub.sharing import AGAIN_SECONDS, STEADY_SECONDS, UNDER_WAY_SECONDS, Sharing, leaving


@pytest.mark.parametrize(
    ("mine", "others", "goes"),
    [
        pytest.param(1000, {}, None, id="a hub alone keeps all"),
        pytest.param(3, {"b": 0}, ("b", 1), id="one of three goes to a hub that came back"),
        pytest.param(2, {"b": 1}, None, id="two and one is even"),
        pytest.param(1, {"b": 0}, None, id="a single agent goes nowhere"),
        pytest.param(2, {"b": 0}, ("b", 1), id="one each"),
        pytest.param(1000, {"b": 0}, ("b", 20), id="a few at a time"),
        pytest.param(510, {"b": 490}, None, id="nobody moves for a little"),
        pytest.param(550, {"b": 450}, None, id="up to a tenth more than the share"),
        pytest.param(560, {"b": 440}, ("b", 11), id="clearly more than the share"),
        pytest.param(400, {"b": 600}, None, id="who holds fewer waits to be sent some"),
        pytest.param(30, {"b": 10, "c": 2}, ("c", 1), id="to the one with the fewest"),
        pytest.param(0, {"b": 0}, None, id="nobody is there"),
        pytest.param(111, dict.fromkeys("bcdefghijkl", 99), ("b", 1), id="no more than it has room for"),
    ],
)
def test_who_goes(mine: int, others: dict[str, int], goes: tuple[str, int] | None) -> None:
    assert leaving(mine, others) == goes


@given(st.lists(st.integers(0, 400), min_size=2, max_size=5))
def test_hubs_come_to_rest_with_their_shares_and_nobody_is_sent_on(counts: list[int]) -> None:
    held = {f"h{number}": count for number, count in enumerate(counts)}
    share = math.ceil(sum(counts) / len(counts))
    received: set[str] = set()
    for _ in range(2000):
        moves = [
            (hub, goes)
            for hub in held
            if (goes := leaving(held[hub], {k: v for k, v in held.items() if k != hub}))
        ]
        if not moves:
            break
        hub, (to, number) = moves[0]
        assert hub not in received, "what came is not sent on"
        received.add(to)
        held[hub] -= number
        held[to] += number
        assert held[to] <= share
    assert max(held.values()) <= max(share * 1.1, share)
    assert sum(held.values()) == sum(counts)


class Hub:
    """What one hub sees; whoever is asked goes if `obeys`."""

    def __init__(self, sessions: int) -> None:
        self.now = 1000.0
        self.living: dict[str, Sequence[str]] = {"b": ("b:1", "b:2")}
        self.here = {f"m{number}": None for number in range(sessions)}
        self.elsewhere: dict[str, str] = {}
        self.obeys = True
        self.asked: list[list[str]] = []
        self.sharing = Sharing(
            living=lambda: self.living, here=self.here.keys, elsewhere=lambda: self.elsewhere, send=self.send, elapsed=lambda: self.now,
        )  # fmt: skip

    def send(self, clusters: Iterable[str], gateways: Sequence[str]) -> None:
        assert gateways == self.living["b"]
        self.asked.append(list(clusters))
        for name in self.asked[-1] if self.obeys else ():
            del self.here[name]

    def later(self, seconds: float) -> list[list[str]]:
        """Who is asked meanwhile, look by look."""
        self.asked.clear()
        for _ in range(int(seconds / 5)):
            self.now += 5
            self.sharing.look()
        return list(self.asked)


def test_a_hub_has_to_live_for_a_while_before_anybody_is_sent_there() -> None:
    hub = Hub(4)
    assert hub.later(STEADY_SECONDS) == []
    hub.living = {}
    assert hub.later(10) == []
    hub.living = {"b": ("b:1", "b:2")}
    assert hub.later(STEADY_SECONDS) == [], "it died meanwhile: it counts from then on"
    assert hub.later(5) == [["m3"]], "the newest goes first"


def test_who_is_under_way_counts_as_arrived_and_not_for_ever() -> None:
    hub = Hub(3)
    assert hub.later(STEADY_SECONDS + UNDER_WAY_SECONDS) == [["m2"]]
    assert hub.later(UNDER_WAY_SECONDS) == [["m1"]], "m2 came nowhere, so it does not count any more"


def test_who_arrived_counts_by_its_row() -> None:
    hub = Hub(4)
    hub.later(STEADY_SECONDS)
    hub.later(5)
    hub.elsewhere = {"m3": "b"}
    assert hub.later(5) == [["m2"]]
    hub.elsewhere["m2"] = "b"
    assert hub.later(600) == []


def test_who_comes_back_is_left_alone_for_an_hour_and_when_most_do_so_are_the_others() -> None:
    hub = Hub(10)
    hub.obeys = False
    assert hub.later(STEADY_SECONDS + 600) == [["m9"], ["m8"], ["m7"]]
    assert hub.later(AGAIN_SECONDS - 700) == []
    assert hub.later(800) == [["m9"], ["m8"], ["m7"]]
    few = Hub(2)
    few.obeys = False
    assert few.later(STEADY_SECONDS + 600) == [["m1"], ["m0"]], "and then nobody"


def test_a_few_who_come_back_keep_nobody_else() -> None:
    hub = Hub(1000)
    hub.later(STEADY_SECONDS)
    hub.later(5)
    hub.here |= {"m999": None, "m998": None, "m997": None}
    assert len(hub.later(5)[0]) == 19
