"""A strategic merge patch made from two objects, as kubectl makes them, turns the first into the second."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from tests.cases import cases
from tests.kube.test_apply_laws import DEPLOYMENT, configurations
from towline.kube.objects import copy
from towline.kube.patches import strategic_merge
from towline.kube.schemas import Schema


@cases(400)
@given(configurations(), configurations())
def test_a_patch_of_the_difference_restores_the_target(a: dict[str, Any], b: dict[str, Any]) -> None:
    patch = difference(DEPLOYMENT, a, b)
    before = copy(patch)
    assert strategic_merge(DEPLOYMENT, a, patch) == b
    assert patch == before
    assert strategic_merge(DEPLOYMENT, b, difference(DEPLOYMENT, b, b)) == b


def difference(schema: Schema, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {field: None for field in a if field not in b}
    for field, wanted in b.items():
        child = schema.child(field) or Schema.ANY
        if field not in a:
            patch[field] = wanted
        elif a[field] == wanted:
            continue
        elif isinstance(wanted, dict) and isinstance(a[field], dict):
            patch[field] = difference(child, a[field], wanted)
            if "retainKeys" in child.patch_strategy:
                patch[field]["$retainKeys"] = sorted(wanted)
        elif isinstance(wanted, list) and "merge" in child.patch_strategy:
            patch |= _lists(child, field, a[field], wanted)
        else:
            patch[field] = wanted
    return patch


def _lists(schema: Schema, field: str, a: list[Any], b: list[Any]) -> dict[str, Any]:
    key, items = schema.patch_merge_key, schema.items or Schema.ANY
    if key is None:
        return {
            f"$deleteFromPrimitiveList/{field}": [item for item in a if item not in b],
            f"$setElementOrder/{field}": b,
            field: [item for item in b if item not in a],
        }
    before = {item[key]: item for item in a}
    changed = [
        {key: item[key], **difference(items, before[item[key]], item)} if item[key] in before else item
        for item in b
        if before.get(item[key]) != item
    ]
    named = {item[key] for item in b}
    gone = [{key: name, "$patch": "delete"} for name in before if name not in named]
    return {f"$setElementOrder/{field}": [{key: item[key]} for item in b], field: [*changed, *gone]}
