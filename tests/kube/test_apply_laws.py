"""Laws of server-side apply, whatever is applied."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from towline.kube.apply import apply, track
from towline.kube.objects import copy, with_metadata
from towline.kube.schemas import builtin

DEPLOYMENT = builtin("io.k8s.api.apps.v1.Deployment")
T1, T2, T3 = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"


def do(
    live: dict[str, Any] | None, applied: dict[str, Any], manager: str, *, force: bool = False, now: str = T1
) -> dict[str, Any]:
    return apply(DEPLOYMENT, live, applied, manager=manager, force=force, now=now, api_version="apps/v1")


def owned(obj: dict[str, Any], manager: str) -> Any:
    entries = obj["metadata"].get("managedFields", [])
    return next((e["fieldsV1"] for e in entries if e["manager"] == manager), None)


names = st.sampled_from("abcd")
values = st.sampled_from(["1", "2", "3"])
env = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"value": values}),
    max_size=3,
    unique_by=lambda e: str(e["name"]),
)
container_lists = st.lists(
    st.fixed_dictionaries(
        {"name": names}, optional={"image": values, "env": env, "args": st.lists(values, max_size=2)}
    ),
    max_size=3,
    unique_by=lambda c: str(c["name"]),
)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if draw(st.booleans()):
        spec["replicas"] = draw(st.integers(0, 3))
    if draw(st.booleans()):
        spec["strategy"] = draw(
            st.sampled_from([{}, {"type": "Recreate"}, {"rollingUpdate": {"maxSurge": 1}}])
        )
    found = draw(container_lists)
    if found:
        spec["template"] = {"spec": {"containers": found}}
    labels = draw(st.dictionaries(names, values, max_size=3))
    metadata: dict[str, Any] = {"name": "web"}
    if labels:
        metadata["labels"] = labels
    if draw(st.booleans()):
        metadata["finalizers"] = draw(st.lists(names, max_size=3, unique=True))
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


EMPTY = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
laws = cases(400)


@laws
@given(configurations(), configurations())
def test_apply_is_idempotent(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = do(do(None, first, "one"), second, "two", force=True, now=T2)
    assert do(live, copy(second), "two", force=False, now=T3) is live


@laws
@given(configurations(), configurations())
def test_applying_again_is_as_if_only_the_last_had_been_applied(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    twice = do(do(None, first, "a"), second, "a")
    once = do(None, second, "a")
    assert owned(twice, "a") == owned(once, "a")
    assert _values(twice) == _values(once)


@laws
@given(configurations(), configurations())
def test_applying_nothing_removes_exactly_what_that_manager_owned_alone(
    mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    together = do(do(None, mine, "mine"), theirs, "theirs", force=True)
    alone = do(together, EMPTY, "mine")
    assert owned(alone, "mine") is None
    assert _values(alone) == _values(do(None, theirs, "theirs"))


@laws
@given(configurations(), configurations())
def test_disjoint_appliers_never_conflict_and_order_does_not_matter(
    a: dict[str, Any], b: dict[str, Any]
) -> None:
    b = _renamed(b)
    one = do(do(None, a, "a"), b, "b")
    two = do(do(None, b, "b"), a, "a")
    assert owned(one, "a") == owned(two, "a")
    assert owned(one, "b") == owned(two, "b")
    assert _values(one) == _values(two)


@laws
@given(configurations(), configurations())
def test_an_update_takes_what_it_changes_and_an_apply_takes_it_back(
    a: dict[str, Any], b: dict[str, Any]
) -> None:
    live = do(None, {**a, "spec": {**a["spec"], "paused": True}}, "a")
    stored = track(DEPLOYMENT, live, b, manager="u", now=T2, api_version="apps/v1")
    mine, theirs = owned(stored, "a") or {}, owned(stored, "u") or {}
    for field in ("replicas", "paused"):
        same = live["spec"].get(field) == stored["spec"].get(field)
        assert (f"f:{field}" in mine.get("f:spec", {})) == (same and field in live["spec"])
        assert (f"f:{field}" in theirs.get("f:spec", {})) == (not same and field in stored["spec"])
    again = do(stored, a, "a", force=True, now=T3)
    once_more = do(again, a, "a", now=T3)
    assert once_more is again
    assert again["spec"].get("replicas", 0) == a["spec"].get("replicas", again["spec"].get("replicas", 0))


@laws
@given(configurations(), configurations())
def test_tracking_the_same_object_changes_nothing(a: dict[str, Any], b: dict[str, Any]) -> None:
    live = do(do(None, a, "a"), b, "b", force=True, now=T2)
    assert track(DEPLOYMENT, live, copy(live), manager="u", now=T3, api_version="apps/v1") == live


def _renamed(config: dict[str, Any]) -> dict[str, Any]:
    """The same shape with other keys everywhere."""
    out: dict[str, Any] = copy(config)
    out["spec"] = {k: v for k, v in out["spec"].items() if k == "template"}
    for container in out["spec"].get("template", {}).get("spec", {}).get("containers", []):
        container["name"] = "other-" + container["name"]
    metadata = out["metadata"]
    if "labels" in metadata:
        metadata["labels"] = {"other-" + k: v for k, v in metadata["labels"].items()}
    if metadata.get("finalizers"):
        metadata["finalizers"] = ["other-" + f for f in metadata["finalizers"]]
    else:
        metadata.pop("finalizers", None)
    return out


def _values(obj: dict[str, Any]) -> Any:
    """What an object says: without ownership, empty containers, and the order of lists with keys."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: v for k, v in ((k, strip(v)) for k, v in value.items()) if v not in ({}, [])}
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return sorted((strip(v) for v in value), key=lambda v: str(v.get("name")))
        return sorted(value) if isinstance(value, list) else value

    return strip(with_metadata(obj, managedFields=None))
