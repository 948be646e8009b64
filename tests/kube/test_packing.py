"""Sets of pods on nodes: exact for one kind of pod, and never more than there is room for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.kube.packing import Nodes, Part, sets_in

MANY = 10_000


@pytest.mark.parametrize(
    ("nodes", "parts", "wanted"),
    [
        pytest.param([Nodes(3, (1000, 110))], [Part(1, (300, 1))], 9, id="whole pods on each node, not on their sum"),
        pytest.param([Nodes(2, (1000, 2))], [Part(1, (100, 1))], 4, id="slots for pods bound a node"),
        pytest.param([Nodes(1, (0, 110)), Nodes(1, (500, 110))], [Part(1, (500, 1))], 1, id="a node with nothing left"),
        pytest.param([Nodes(1, (-5, 110))], [Part(1, (1, 1))], 0, id="a node that has promised too much"),
        pytest.param([Nodes(4, (1000, 110), 0b10)], [Part(1, (10, 1))], 0, id="nodes where the part may not run"),
        pytest.param([Nodes(3, (1000, 110))], [Part(2, (1000, 1))], 1, id="sets of one part are whole"),
        pytest.param(
            [Nodes(2, (1000, 110))], [Part(1, (600, 1)), Part(1, (400, 1))], 2, id="parts share nodes"
        ),
        pytest.param(
            [Nodes(2, (1000, 110))], [Part(1, (600, 1)), Part(1, (500, 1))], 1, id="parts do not overlap"
        ),
        pytest.param(
            [Nodes(1, (1000, 110), 0b01), Nodes(1, (300, 110), 0b10)],
            [Part(1, (100, 1)), Part(2, (100, 1))],
            1,
            id="each part keeps to its own nodes",
        ),
        pytest.param([], [Part(1, (1, 1))], 0, id="no nodes"),
    ],
)  # fmt: skip
def test_sets_in(nodes: list[Nodes], parts: list[Part], wanted: int) -> None:
    assert sets_in(nodes, parts, MANY) == wanted


def test_no_more_than_asked_for() -> None:
    assert sets_in([Nodes(10**6, (10**9, 110))], [Part(1, (1, 1))], 7) == 7


amounts = st.tuples(st.integers(0, 12), st.integers(0, 6))
node_rows = st.lists(st.builds(Nodes, st.integers(0, 3), amounts, st.integers(0, 3)), max_size=5)
needs = st.tuples(st.integers(0, 5), st.just(1))


@given(node_rows, needs)
@cases(200)
def test_one_part_is_what_placing_pod_by_pod_finds(nodes: list[Nodes], need: tuple[int, int]) -> None:
    free = [list(each.free) for each in nodes for _ in range(each.number) if each.allows & 1]
    placed = 0
    while (
        at := next((f for f in free if all(h >= n for h, n in zip(f, need, strict=True))), None)
    ) is not None:
        at[:] = [h - n for h, n in zip(at, need, strict=True)]
        placed += 1
    assert sets_in(nodes, [Part(1, need)], MANY) == placed


@given(node_rows, st.lists(st.builds(Part, st.integers(1, 2), needs), min_size=2, max_size=2))
@cases(200)
def test_sets_are_never_more_than_can_be_packed(nodes: list[Nodes], parts: list[Part]) -> None:
    found = sets_in(nodes, parts, 3)
    pods = [(i, part.needs) for i, part in enumerate(parts) for _ in range(part.replicas * found)]
    assert _packs([(each.free, each.allows) for each in nodes for _ in range(each.number)], pods)


@given(node_rows, needs, amounts)
@cases(100)
def test_more_room_is_never_less(nodes: list[Nodes], need: tuple[int, int], more: tuple[int, int]) -> None:
    before = sets_in(nodes, [Part(1, need)], MANY)
    assert sets_in([*nodes, Nodes(1, more)], [Part(1, need)], MANY) >= before
    richer = [each._replace(free=(each.free[0] + more[0], each.free[1] + more[1])) for each in nodes]
    assert sets_in(richer, [Part(1, need)], MANY) >= before


def _packs(nodes: list[tuple[tuple[int, ...], int]], pods: list[tuple[int, tuple[int, ...]]]) -> bool:
    """Whether all pods fit, by trying every node for every pod."""
    if not pods:
        return True
    (index, need), *others = pods
    tried = set()
    for at, (free, allows) in enumerate(nodes):
        if (
            (free, allows) in tried
            or not allows >> index & 1
            or any(h < n for h, n in zip(free, need, strict=True))
        ):
            continue
        tried.add((free, allows))
        left = [*nodes]
        left[at] = (tuple(h - n for h, n in zip(free, need, strict=True)), allows)
        if _packs(left, others):
            return True
    return False
