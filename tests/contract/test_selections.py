"""The index of policies answers those, and only those, that may select a template."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.world import configmap, deployment, policy, selector
from towline.hub.decide import policies
from towline.hub.store.index import SelectionIndex
from towline.kube.objects import Key, Object

_selectors = st.lists(
    st.builds(
        lambda obj, name, labels: selector(obj, **({"name": name} if name else {}), **labels),
        st.sampled_from([deployment(), configmap()]),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from([{}, {"labelSelector": {"matchLabels": {"x": "y"}}}]),
    ),
    max_size=3,
)
_changes = st.lists(
    st.tuples(st.sampled_from("pqr"), st.sampled_from(["shop", "other", None]), st.none() | _selectors),
    max_size=12,
)
TEMPLATES = [
    make(name, space) for make in (deployment, configmap) for name in "ab" for space in ("shop", "other")
]


@cases(100)
@given(_changes)
def test_found_by_what_they_select(changes: list[tuple[str, str | None, list[Object] | None]]) -> None:
    index = SelectionIndex()
    present: dict[Key, Object] = {}
    for name, space, selectors in changes:
        new = None if selectors is None else policy(name, selectors, namespace=space)
        key = policies.claim_by(new or policy(name, namespace=space)).key
        index.replace(key, present.get(key), new)
        if new is None:
            present.pop(key, None)
        else:
            present[key] = new
    for template in TEMPLATES:
        found = index.find(template)
        assert list(found) == sorted(found)
        for key, held in present.items():
            wanted = bool(policies.selections(held) & policies.selections_for(template))
            assert (key in found) == wanted
            assert wanted or not policies.specificity(held, template), "what selects it is found"
        assert set(found) <= present.keys()
