"""What a binding remembers of where it came from, in numbers: when copies leave, and when a return is taken back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decide.test_works import binding as plain
from towline.hub.decide.bindings import targets
from towline.hub.decide.origins import (
    ORIGINS_MAX,
    PRODUCER,
    Origin,
    after_eviction,
    origins_of,
    taken_back,
    with_origins,
)
from towline.kube.names import FAILBACK, MOVED_FROM
from towline.kube.objects import Object, annotations_of, labels_of, with_annotations

NOW = 1000.0
Known = dict[str, tuple[int, dict[str, int]]]


def bound(clusters: dict[str, int], known: Known | None = None, divided: bool = True, **spec: Any) -> Object:
    """`known`: by cluster, its share and who has that."""
    dividing = {"replicaScheduling": {"replicaSchedulingType": "Divided"}} if divided else {}
    obj = plain(clusters, replicaRequirements={}, placement=dividing, **spec)
    return with_origins(obj, [Origin(name, share, at, NOW) for name, (share, at) in (known or {}).items()])


@pytest.mark.parametrize(
    ("held", "known", "new", "expected"),
    [
        pytest.param({"m1": 3}, {}, {"m2": 3}, {"m1": (3, {"m2": 3})}, id="one in place of one"),
        pytest.param({"m1": 0}, {}, {"m2": 0}, {"m1": (1, {"m2": 1})}, id="without replicas"),
        pytest.param({"m1": 2, "k": 2}, {}, {"k": 4}, {"m1": (2, {"k": 2})}, id="one that was there gets more"),
        pytest.param({"m1": 2, "k": 2}, {}, {"k": 2}, {}, id="nobody stands in"),
        pytest.param({"m1": 2, "m2": 2}, {}, {"a": 3, "b": 1}, {"m1": (2, {"a": 2}), "m2": (2, {"a": 1, "b": 1})}, id="each is dealt its part"),
        pytest.param({"m1": 3, "m2": 3}, {}, {"a": 3}, {"m1": (3, {"a": 3}), "m2": (3, {"a": 3})}, id="of copies that are fewer each is all of it"),
        pytest.param({"gone": 3}, {}, {"m2": 3}, {}, id="what is not wanted back"),
        pytest.param({"m2": 3}, {"m1": (3, {"m2": 3})}, {"a": 3}, {"m1": (3, {"a": 3})}, id="a stand-in hands on what it stood in for"),
        pytest.param({"m2": 3, "m3": 3}, {"m1": (3, {"m2": 3})}, {"a": 3}, {"m1": (3, {"a": 3}), "m3": (3, {"a": 3})}, id="and has nothing of its own, whoever is there for others"),
        pytest.param({"m2": 4}, {"m1": (1, {"m2": 1})}, {"a": 6}, {"m1": (1, {"a": 1}), "m2": (3, {"a": 3})}, id="but what it had of its own"),
        pytest.param({"m2": 2}, {"m1": (2, {"m2": 2})}, {}, {}, id="nobody has it any more"),
        pytest.param({"m2": 2}, {"m1": (2, {"m2": 2})}, {"m1": 2}, {}, id="it came home by itself"),
        pytest.param({"m2": 3}, {"m1": (3, {"m2": 3})}, {"m1": 1, "a": 2}, {"m1": (3, {"a": 2})}, id="a part of it did"),
        pytest.param({"m1": 1, "k": 2}, {"m1": (3, {"k": 2})}, {"k": 2, "a": 1}, {"m1": (3, {"k": 2, "a": 1})}, id="and is lost again"),
        pytest.param({"m1": 1, "k": 2}, {"m1": (3, {"k": 2})}, {"k": 3}, {"m1": (3, {"k": 3})}, id="to where the rest is"),
        pytest.param({"m2": 1, "k": 1}, {"m1": (1, {"m2": 1, "k": 1})}, {"m1": 1, "k": 1}, {}, id="all that it had did"),
        pytest.param({"m1": 1, "k": 1}, {"m1": (1, {"k": 1})}, {"a": 1, "k": 1}, {"m1": (1, {"a": 1})}, id="home again, and lost again"),
    ],
)  # fmt: skip
def test_what_is_remembered_of_copies_that_leave(
    held: dict[str, int], known: Known, new: dict[str, int], expected: Known
) -> None:
    before = bound(held, known)
    after = {**before, "spec": bound(new)["spec"]}
    gone, wanted = held.keys() - new.keys(), {"m1", "m2", "m3"}
    found = origins_of(after_eviction(before, after, gone, wanted, NOW))
    assert {o.cluster: (o.share, dict(o.stand_ins)) for o in found} == expected
    assert len(found) == len(expected), "each once"


def leaving(cluster: str, replicas: int, before: list[str], **more: str) -> Object:
    return {
        "fromCluster": cluster,
        "purgeMode": "Gracefully",
        "producer": PRODUCER,
        "replicas": replicas,
        "clustersBeforeFailover": before,
        **more,
    }


@pytest.mark.parametrize(
    ("now", "tasks", "expected", "divided"),
    [
        pytest.param({"m1": 3}, [leaving("a", 3, ["a"])], {"a": 3}, False, id="a whole copy"),
        pytest.param({"m1": 0, "k": 0}, [leaving("a", 0, ["a", "k"])], {"a": 0, "k": 0}, False, id="without replicas, beside another"),
        pytest.param({"m1": 2, "a": 2, "b": 2}, [leaving("a", 3, ["a", "b"]), leaving("b", 3, ["a", "b"])], {"a": 3, "b": 3}, True, id="parts of two"),
        pytest.param({"m1": 2, "a": 2}, [leaving("a", 3, ["a", "m1"])], {"m1": 1, "a": 3}, True, id="to one that had some"),
        pytest.param({"m0": 1, "m1": 3, "a": 1}, [leaving("a", 3, ["a"])], {"m1": 2, "a": 3}, True, id="of two that return"),
        pytest.param({"m1": 1, "a": 2}, [leaving("a", 4, ["a"])], {"a": 4}, True, id="more than came back"),
    ],
)  # fmt: skip
def test_what_a_return_that_is_taken_back_leaves(
    now: dict[str, int], tasks: list[Object], expected: dict[str, int], divided: bool
) -> None:
    others = [{"fromCluster": "x", "producer": "TaintManager"}, leaving("y", 5, ["y"], purgeMode="Directly")]
    known: Known = {"m1": (3, {"a": 1})}
    assert taken_back(start := bound(now, known, divided, gracefulEvictionTasks=others)) is start
    back = taken_back(bound(now, known, divided, gracefulEvictionTasks=[*others, *tasks]))
    assert targets(back) == expected and back["spec"]["gracefulEvictionTasks"] == others
    rows = [{"name": name, "replicas": n} if n else {"name": name} for name, n in sorted(expected.items())]
    assert back["spec"]["clusters"] == rows


def test_the_newest_are_kept_in_one_spelling_and_nothing_leaves_no_trace() -> None:
    many = [Origin(f"m{n}", 1, {"b": 1, "a": 2}, NOW) for n in range(ORIGINS_MAX + 1)]
    kept = with_origins(bound({"a": 1}), many)
    assert origins_of(kept) == many[1:] and labels_of(kept)[FAILBACK] == "waiting"
    turned = [origin._replace(stand_ins={"a": 2, "b": 1}) for origin in many]
    assert with_origins(kept, turned) is kept
    bare = with_origins(kept, ())
    assert MOVED_FROM not in annotations_of(bare) and FAILBACK not in labels_of(bare)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no JSON", []),
        ("[1]", []),
        ('[{"cluster": "m1"}]', []),
        (
            '[{"cluster": "m1", "share": 0, "standIns": {"a": -1}, "at": ""}]',
            [Origin("m1", 1, {"a": 1}, 0.0)],
        ),
    ],
)
def test_what_somebody_else_wrote_there_does_no_harm(text: str, expected: list[Origin]) -> None:
    assert origins_of(with_annotations(bound({"a": 1}), {MOVED_FROM: text})) == expected
