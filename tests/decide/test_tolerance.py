"""How long a placement tolerates what is wrong with a cluster (Karmada 2.9; Kubernetes' default tolerations)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decide.world import cluster
from towline.hub.decide.conditions import rfc3339
from towline.hub.decide.taints import following_ready
from towline.hub.decide.tolerance import LOST_SECONDS, leaves, troubles_of, welcomes
from towline.kube.names import TAINT_DRAIN, TAINT_NOT_READY, TAINT_UNREACHABLE
from towline.kube.objects import Object
from towline.kube.taints import Taint

T0 = 1_000_000.0
ASKED: Object = {"cluster": {}}


def tainted(key: str = "k", seconds: float = 0.0, **more: str) -> dict[str, str]:
    return {"key": key, "effect": "NoExecute", "timeAdded": rfc3339(T0 + seconds), **more}


def tolerating(key: str, seconds: int | None = None, **more: str) -> dict[str, Any]:
    found: dict[str, Any] = {"key": key, "operator": "Exists", "effect": "NoExecute", **more}
    return found if seconds is None else {**found, "tolerationSeconds": seconds}


def ready(status: str) -> dict[str, str]:
    return {"type": "Ready", "status": status, "lastTransitionTime": rfc3339(T0)}


def at(taints: Any = (), tolerations: Any = (), failover: Any = ASKED, status: str = "True") -> float | None:
    """When it leaves, in seconds after T0; None for never."""
    obj = cluster("m1", taints=list(taints))
    obj["status"] = {"conditions": [ready(status)]}
    spec = {"failover": failover, "placement": {"clusterTolerations": list(tolerations)}}
    times = [leave.at - T0 for leave in leaves(spec, troubles_of(obj))]
    return min(times, default=None)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        pytest.param(None, {}, id="nothing is wrong"),
        pytest.param(0, {"taints": [tainted()]}, id="an untolerated taint counts at once"),
        pytest.param(None, {"taints": [{"key": "k", "effect": "NoSchedule"}]}, id="NoSchedule evicts nothing"),
        pytest.param(None, {"taints": [tainted()], "tolerations": [tolerating("k")]}, id="tolerated for ever"),
        pytest.param(30, {"taints": [tainted()], "tolerations": [tolerating("k", 30)]}, id="tolerated for 30 s"),
        pytest.param(0, {"taints": [tainted()], "tolerations": [tolerating("k", -5)]}, id="less than nothing is nothing"),
        pytest.param(
            30, {"taints": [tainted("a"), tainted("b", 20)], "tolerations": [tolerating("a", 40), tolerating("b", 10)]},
            id="each taint from its own time, the least counts",
        ),
        pytest.param(
            5, {"taints": [tainted("a"), tainted("b", 5)], "tolerations": [tolerating("a", 40)]},
            id="one that nothing tolerates counts at once",
        ),
        pytest.param(
            None, {"taints": [tainted()], "tolerations": [tolerating("k"), tolerating("k", 30)]},
            id="of two tolerations the first counts",
        ),
        pytest.param(
            30, {"taints": [tainted(value="v")], "tolerations": [{"key": "k", "value": "w"}, {"key": "k", "value": "v", "tolerationSeconds": 30}]},
            id="of its value",
        ),
        pytest.param(
            30, {"taints": [tainted()], "tolerations": [{"operator": "Exists", "tolerationSeconds": 30}]}, id="of every key and effect",
        ),
        pytest.param(
            7, {"status": "False", "tolerations": [{"operator": "Exists", "tolerationSeconds": 7}]}, id="of every key, and not ready",
        ),
        pytest.param(LOST_SECONDS, {"status": "Unknown"}, id="unreachable for five minutes"),
        pytest.param(LOST_SECONDS, {"status": "False"}, id="not ready for five minutes"),
        pytest.param(
            60, {"status": "Unknown", "tolerations": [tolerating(TAINT_UNREACHABLE, 60)]}, id="unreachable for a minute",
        ),
        pytest.param(
            LOST_SECONDS, {"status": "False", "tolerations": [tolerating(TAINT_UNREACHABLE, 60)]},
            id="not ready is not unreachable",
        ),
        pytest.param(
            None, {"status": "Unknown", "tolerations": [tolerating(TAINT_UNREACHABLE)]}, id="unreachable for ever",
        ),
        pytest.param(
            LOST_SECONDS, {"status": "Unknown", "tolerations": [tolerating(TAINT_UNREACHABLE, effect="NoSchedule")]},
            id="to be placed there is not to stay there",
        ),
        pytest.param(None, {"taints": [tainted()], "failover": None}, id="without failover.cluster taints evict nothing"),
        pytest.param(
            None, {"taints": [tainted()], "failover": {"application": {}}}, id="application failover alone is none",
        ),
        pytest.param(None, {"status": "Unknown", "failover": None}, id="without failover.cluster loss evicts nothing"),
        pytest.param(0, {"taints": [tainted(TAINT_DRAIN)], "failover": None}, id="draining needs no policy"),
        pytest.param(
            None, {"taints": [tainted(TAINT_DRAIN)], "tolerations": [{"operator": "Exists"}]}, id="drained and tolerated",
        ),
    ],
)  # fmt: skip
def test_when_a_copy_leaves(expected: float | None, given: dict[str, Any]) -> None:
    assert at(**given) == expected


@pytest.mark.parametrize(
    "tolerations", [[tolerating("k", 9), tolerating("k")], [tolerating("k", 9)], [tolerating("k")], []]
)
def test_who_may_come_need_not_leave_again(tolerations: list[Any]) -> None:
    """And who would have to leave may not come: nothing goes to and fro."""
    welcome = welcomes(tolerations, Taint("k", "", "NoExecute"), failing_over=True)
    assert welcome is (at([tainted()], tolerations) is None)


def unwell(key: str, seconds: float) -> dict[str, str]:
    """The taint of a cluster that is not well since T0 + `seconds`."""
    return {"key": key, "effect": "NoSchedule", "timeAdded": rfc3339(T0 + seconds)}


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        pytest.param(200, {}, id="not well for five minutes"),
        pytest.param(
            -40, {"tolerations": [tolerating(TAINT_UNREACHABLE, 60), tolerating(TAINT_NOT_READY, 30)]},
            id="not well for longer than either is tolerated",
        ),
        pytest.param(
            60, {"tolerations": [tolerating(TAINT_UNREACHABLE, 60), tolerating(TAINT_NOT_READY, 900)]},
            id="not reachable for longer than that is tolerated",
        ),
        pytest.param(
            60, {"tolerations": [tolerating(TAINT_UNREACHABLE, 60), tolerating(TAINT_NOT_READY)]},
            id="the one is tolerated for ever, the other is not",
        ),
        pytest.param(
            None, {"tolerations": [tolerating(TAINT_UNREACHABLE), tolerating(TAINT_NOT_READY, 60)]},
            id="what it is now is tolerated for ever",
        ),
        pytest.param(
            800, {"tolerations": [tolerating(TAINT_UNREACHABLE, 900)]}, id="the other for the default time",
        ),
    ],
)  # fmt: skip
def test_one_that_was_not_ready_before_it_was_not_reachable(
    expected: float | None, given: dict[str, Any]
) -> None:
    """For a hundred seconds."""
    assert at([unwell(TAINT_UNREACHABLE, -100)], status="Unknown", **given) == expected


def test_going_to_and_fro_between_not_ready_and_not_reachable_gains_no_time() -> None:
    obj = cluster("m1")
    for n, status in enumerate(["False", "Unknown", "False", "Unknown", "False"]):
        now = T0 + 80 * n
        obj = following_ready(obj, status, now)
        obj["status"] = {"conditions": [{**ready(status), "lastTransitionTime": rfc3339(now)}]}
    assert [leave.at - T0 for leave in leaves({"failover": ASKED}, troubles_of(obj))] == [LOST_SECONDS]
    obj = following_ready(following_ready(obj, "True", T0 + 400), "False", T0 + 410)
    assert [taint["timeAdded"] for taint in obj["spec"]["taints"]] == [rfc3339(T0 + 410)], "well in between"


def test_why_a_copy_leaves() -> None:
    """And whether somebody wants it gone, and at once."""
    obj = cluster("m1", taints=[tainted(value="v"), tainted(TAINT_DRAIN)])
    obj["status"] = {"conditions": [ready("Unknown")]}
    found = leaves({"failover": ASKED}, troubles_of(obj))
    assert [(leave.why, leave.wished, leave.at_once) for leave in found] == [
        ("has the taint {k=v:NoExecute}", True, False),
        ("is being drained", True, True),
        (f"is unreachable since {rfc3339(T0)}", False, False),
    ]


def test_nobody_knows_since_when() -> None:
    obj = cluster("m1", taints=[{"key": "k", "effect": "NoExecute"}])
    obj["status"] = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
    spec = {"failover": ASKED, "placement": {"clusterTolerations": [tolerating("k", 30)]}}
    assert leaves(spec, troubles_of(obj)) == []


@pytest.mark.parametrize(
    ("welcome", "taint", "tolerations", "failing_over"),
    [
        pytest.param(False, Taint("k", "", "NoSchedule"), [], False, id="untolerated"),
        pytest.param(True, Taint("k", "", "NoSchedule"), [{"operator": "Exists"}], True, id="tolerated"),
        pytest.param(True, Taint("k", "", "NoExecute"), [tolerating("k", 9)], False, id="for a time, where nothing evicts"),
        pytest.param(False, Taint("k", "", "NoExecute"), [tolerating("k", 9)], True, id="for a time, where it would leave again"),
        pytest.param(False, Taint(TAINT_DRAIN, "", "NoExecute"), [tolerating(TAINT_DRAIN, 9)], False, id="drained, for a time"),
        pytest.param(True, Taint("k", "", "NoExecute"), [tolerating("k")], True, id="for ever, where it would leave otherwise"),
        pytest.param(False, Taint("k", "", "NoExecute"), [tolerating("k", 9), tolerating("k")], True, id="of two the first counts"),
        pytest.param(True, Taint("k", "", "NoExecute"), [tolerating("k"), tolerating("k", 9)], True, id="whichever it is"),
        pytest.param(True, Taint("k", "", "NoSchedule"), [tolerating("k", effect="NoSchedule")], True, id="what evicts nobody"),
        pytest.param(False, Taint("k", "", "NoExecute"), [tolerating("k", effect="NoSchedule")], True, id="another effect"),
        pytest.param(True, Taint("k", "v", "NoExecute"), [{"operator": "Exists"}], True, id="every key and effect"),
        pytest.param(
            False, Taint(TAINT_NOT_READY, "", "NoSchedule"),
            [tolerating(TAINT_NOT_READY, effect="NoSchedule"), tolerating(TAINT_NOT_READY, 9)], True,
            id="lost, where it would leave again",
        ),
        pytest.param(
            True, Taint(TAINT_NOT_READY, "", "NoSchedule"), [tolerating(TAINT_NOT_READY, effect="NoSchedule")], False,
            id="lost, and nothing evicts",
        ),
    ],
)  # fmt: skip
def test_who_may_come(welcome: bool, taint: Taint, tolerations: Any, failing_over: bool) -> None:
    assert welcomes(tolerations, taint, failing_over=failing_over) is welcome
