"""A kopf operator runs against a hub, also while the hub is killed and comes back. TOWLINE_LONG=1: for a minute."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Fleet, eventually, running_fleet
from tests.e2e.objects import namespace

pytestmark = pytest.mark.e2e

SPACE = "kopf"
GADGETS = f"/apis/kopf.example.com/v1/namespaces/{SPACE}/gadgets"
OPERATOR = Path(__file__).with_name("operator_for_kopf.py")
SECONDS = 60.0 if os.environ.get("TOWLINE_LONG") else 2.0

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.kopf.example.com"},
    "spec": {
        "group": "kopf.example.com",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(tmp_path, members=()) as fleet:
        fleet.apply(namespace(SPACE), CRD)
        fleet.kubectl("wait", "--for=condition=Established", "crd/gadgets.kopf.example.com", "--timeout=20s")
        fleet.spawn(
            "kopf",
            [sys.executable, "-m", "kopf", "run", "--standalone", "-n", SPACE, "--verbose", str(OPERATOR)],
            KUBECONFIG=str(fleet.hub_data / "admin.kubeconfig"),
        )
        yield fleet


def create(fleet: Fleet, name: str) -> None:
    gadget = {
        "apiVersion": "kopf.example.com/v1",
        "kind": "Gadget",
        "metadata": {"name": name},
        "spec": {"size": 1},
    }
    fleet.hub.request("POST", GADGETS, gadget)


def status(fleet: Fleet, name: str) -> dict[str, Any]:
    return (fleet.hub.get(f"{GADGETS}/{name}") or {}).get("status") or {}


def handled(fleet: Fleet, name: str) -> bool:
    """Created, watched over, and told about."""
    found = status(fleet, name)
    reasons = {
        event["reason"]
        for event in fleet.hub.items(f"/api/v1/namespaces/{SPACE}/events")
        if event["involvedObject"]["name"] == name
    }
    built = found.get("size") == 1 and found.get("created") == {"done": True}
    assert built and found.get("ticks", 0) >= 2 and {"Built", "Stays"} <= reasons, (found, reasons)
    return True


def resize_and_remove(fleet: Fleet, name: str) -> None:
    path = f"{GADGETS}/{name}"
    fleet.hub.merge(path, {"spec": {"size": 2}})
    eventually(lambda: status(fleet, name)["size"] == 2, what="the update handler ran")
    assert (fleet.hub.get(path) or {})["metadata"]["finalizers"]
    fleet.hub.delete(path)
    eventually(lambda: fleet.hub.get(path) is None, what="the delete handler let it go")


def faults(fleet: Fleet) -> list[str]:
    lines = fleet.processes["kopf"].log.read_text().splitlines()
    return [
        line
        for line in lines
        if re.search(r"\[(ERROR|CRITICAL)|Traceback|patching failed|\b4\d\d\b.*Error", line)
    ]


def test_an_operator(fleet: Fleet) -> None:
    ends = time.monotonic() + SECONDS
    create(fleet, "kept")
    eventually(lambda: handled(fleet, "kept"), what="kept is handled")
    rounds = 0
    while rounds == 0 or time.monotonic() < ends:
        create(fleet, f"round-{rounds}")
        eventually(partial(handled, fleet, f"round-{rounds}"))
        resize_and_remove(fleet, f"round-{rounds}")
        rounds += 1
    assert fleet.processes["kopf"].alive() and not faults(fleet)

    fleet.processes["hub"].kill()
    fleet.processes["hub"].start()
    fleet.await_hub()
    create(fleet, "after")
    eventually(lambda: handled(fleet, "after"), what="the operator came back")
    ticks = status(fleet, "kept")["ticks"]
    eventually(lambda: status(fleet, "kept")["ticks"] > ticks, what="its timers go on")
    for name in ("kept", "after"):
        resize_and_remove(fleet, name)
    assert fleet.processes["kopf"].stop() == 0
