"""Spread constraints with real processes: labels of clusters decide where copies go, and a wish that cannot be met heals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import ON_ANY_STORE
from tests.e2e.harness import Fleet, condition, eventually
from tests.e2e.objects import deployment, policy

pytestmark = [pytest.mark.e2e, ON_ANY_STORE]

RACK = "example.com/rack"


def binding(fleet: Fleet, space: str) -> dict[str, Any]:
    path = f"/apis/work.karmada.io/v1alpha2/namespaces/{space}/resourcebindings/web-deployment"
    return fleet.hub.get(path) or {}


def targets(fleet: Fleet, space: str) -> set[str]:
    return {target["name"] for target in (binding(fleet, space).get("spec") or {}).get("clusters") or ()}


def told(fleet: Fleet, space: str) -> str:
    conditions = (binding(fleet, space).get("status") or {}).get("conditions") or ()
    return " ".join(one["message"] for one in conditions if one["type"] == "Scheduled")


def label(fleet: Fleet, **racks: str) -> None:
    for cluster, rack in racks.items():
        fleet.kubectl("label", "--overwrite", "cluster", cluster, f"{RACK}={rack}" if rack else f"{RACK}-")


def test_spread_by_label(fleet: Fleet, space: str) -> None:
    label(fleet, member1="a", member2="a", member3="b")
    constraints = [
        {"spreadByLabel": RACK, "minGroups": 2},
        {"spreadByField": "cluster", "minGroups": 2, "maxGroups": 2},
    ]
    try:
        fleet.apply(
            deployment("web", space), policy("web", space, placement={"spreadConstraints": constraints})
        )
        eventually(lambda: targets(fleet, space) in ({"member1", "member3"}, {"member2", "member3"}))
        eventually(lambda: condition(binding(fleet, space), "FullyApplied") == "True")
        first = targets(fleet, space)

        constraints[0]["minGroups"] = 3
        constraints[1]["maxGroups"] = 3
        fleet.apply(policy("web", space, placement={"spreadConstraints": constraints}))
        eventually(lambda: condition(binding(fleet, space), "Scheduled") == "False")
        assert told(fleet, space) == (
            f"the number of feasible values of label {RACK} is less than spreadConstraint.MinGroups: "
            "2 feasible, minGroups 3"
        )
        assert targets(fleet, space) == first, "a wish that cannot be met moves nothing"

        label(fleet, member2="c")
        eventually(lambda: targets(fleet, space) == {"member1", "member2", "member3"}, what="it heals")
        assert condition(binding(fleet, space), "Scheduled") == "True"
    finally:
        label(fleet, member1="", member2="", member3="")
