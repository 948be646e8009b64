"""Whatever users did to a hub, it can be explained, as data and as text, and a forecast without changes foresees nothing."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given

from tests.cases import cases
from tests.decide.test_at_rest import _do, _steps
from tests.decide.test_explaining import settled
from tests.decide.test_propagation import WEB, WEB_POLICY, a_world, propagate
from tests.decide.world import deployment
from towline.cli.explained import explanation
from towline.cli.whatif import forecasts
from towline.hub.decide.explaining import explain
from towline.hub.decide.scheduling import View
from towline.hub.decide.whatif import forecast


@cases(80)
@given(_steps)
def test_anything_can_be_explained(steps: list[tuple[str, Any]]) -> None:
    world = a_world(deployment(), WEB_POLICY)
    at, recorded = world.key(WEB_POLICY), None
    for step, value in steps:
        world.now += 7
        _do(world, at, step, value)
        recorded = settled(world) or recorded
        propagate(world)
        view, before = View.of(world, world.now), world.revision
        told = explain(world, WEB, view, world.now, recorded)
        assert explanation(orjson.loads(orjson.dumps(told))).startswith(told["summary"])
        (found,) = forecast(world, view, [WEB], {}, world.now)
        assert not found.differs and not found.pending
        row = {"template": {"kind": "Deployment", "name": "web"}, **found.data()}
        assert forecasts({"summary": "s", "forecasts": [row]}).startswith("s\n")
        assert world.revision == before
