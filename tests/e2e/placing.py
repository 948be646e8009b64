"""What the tests of placement apply to their six clusters, and what they look at: as a user would, and in the members themselves."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.harness import Fleet, eventually
from tests.e2e.objects import deployment, policy

EXAMPLES = Path(__file__).parents[2] / "examples"
APP = EXAMPLES / "app"
POLICIES = EXAMPLES / "policies"
MEMBERS = {"member1": 1, "member2": 2, "member3": 3, "member4": 1, "member5": 2, "member6": 4}
"""Nodes of each; a node has four cores and takes a thousand pods. Places and labels are those of `towline demo --members 6`."""
CORES = 4


# --- what is applied -----------------------------------------------------------------------------------------


def propagation(name: str) -> Path:
    return POLICIES / "propagation" / f"{name}.yaml"


def apply(fleet: Fleet, space: str, *files: Path) -> str:
    """`kubectl apply` of files or folders; what it prints."""
    done = fleet.kubectl("apply", "-n", space, *(word for file in files for word in ("-f", str(file))))
    return done.stdout + done.stderr


def scale(fleet: Fleet, space: str, replicas: int, name: str = "nginx") -> None:
    fleet.kubectl("scale", f"deployment/{name}", "-n", space, f"--replicas={replicas}")


def selector(name: str) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}


def by_room(name: str, space: str, *members: str, **spec: Any) -> dict[str, Any]:
    """A policy for all Deployments that divides by room."""
    weighted = {
        "replicaSchedulingType": "Divided",
        "replicaDivisionPreference": "Weighted",
        "weightPreference": {"dynamicWeight": "AvailableReplicas"},
    }
    return policy(name, space, list(members), placement={"replicaScheduling": weighted}, **spec)


def needing(name: str, space: str, replicas: int) -> dict[str, Any]:
    """A Deployment whose pods need a core each."""
    obj = deployment(name, space, replicas)
    obj["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    return obj


@contextlib.contextmanager
def tainted(fleet: Fleet, name: str, taint: dict[str, str]) -> Iterator[None]:
    patch = ("patch", "cluster", name, "--type=merge", "-p")
    fleet.kubectl(*patch, json.dumps({"spec": {"taints": [taint]}}))
    try:
        yield
    finally:
        fleet.kubectl(*patch, '{"spec": {"taints": null}}')


@contextlib.contextmanager
def labelled(fleet: Fleet, **tiers: str) -> Iterator[None]:
    """Clusters with another tier."""
    before = {name: cluster(fleet, name)["metadata"]["labels"]["tier"] for name in tiers}
    for name, tier in tiers.items():
        fleet.kubectl("label", "cluster", name, f"tier={tier}", "--overwrite")
    try:
        yield
    finally:
        for name, tier in before.items():
            fleet.kubectl("label", "cluster", name, f"tier={tier}", "--overwrite")


# --- what is looked at ---------------------------------------------------------------------------------------

PATHS = {
    "deployments": "/apis/apps/v1", "statefulsets": "/apis/apps/v1", "daemonsets": "/apis/apps/v1",
    "jobs": "/apis/batch/v1", "cronjobs": "/apis/batch/v1", "services": "/api/v1", "configmaps": "/api/v1",
}  # fmt: skip


def held(fleet: Fleet, space: str, name: str) -> dict[str, dict[str, Any]]:
    """What each member that has `plural/name` says of it."""
    path = f"{PATHS[name.partition('/')[0]]}/namespaces/{space}/{name}"
    found = ((member, fleet.members[member].get(path)) for member in MEMBERS)
    return {member: obj for member, obj in found if obj is not None}


def at_member(fleet: Fleet, member: str, path: str) -> list[dict[str, Any]]:
    return fleet.members[member].items(path)


def running(fleet: Fleet, space: str, name: str = "nginx") -> dict[str, int]:
    """Replicas of a Deployment by member, from the members themselves."""
    return {m: obj["spec"]["replicas"] for m, obj in held(fleet, space, f"deployments/{name}").items()}


def flat(deployment: dict[str, Any]) -> dict[str, Any]:
    """The parts of a Deployment that overrides in the examples change, in one dict."""
    spec, meta = deployment["spec"], deployment["metadata"]
    pod = spec["template"]["spec"]
    return {**spec, **pod, **pod["containers"][0], **meta["labels"], **meta.get("annotations", {})}


def same(seen: Any, expected: Any) -> Any:
    """Waits until `seen()` is `expected`; says what it was last."""

    def check() -> bool:
        last = seen()
        assert last == expected, f"{last} is not {expected}"
        return True

    eventually(check, 15)
    return expected


def placed(fleet: Fleet, space: str, expected: dict[str, int], name: str = "nginx") -> dict[str, int]:
    """Waits until the members run these replicas of a Deployment, and returns them."""
    same(lambda: running(fleet, space, name), expected)
    return expected


def binding(fleet: Fleet, space: str, name: str = "nginx") -> dict[str, Any]:
    path = f"/apis/work.karmada.io/v1alpha2/namespaces/{space}/resourcebindings/{name}-deployment"
    return fleet.hub.get(path) or {}


def targets(fleet: Fleet, space: str, name: str = "nginx") -> dict[str, int]:
    rows = (binding(fleet, space, name).get("spec") or {}).get("clusters") or ()
    return {row["name"]: row.get("replicas") or 0 for row in rows}


def unscheduled(fleet: Fleet, space: str, name: str = "nginx") -> tuple[str, str]:
    """Reason and message of a Scheduled condition that is False, as soon as there is one."""

    def found() -> tuple[str, str] | None:
        rows = binding(fleet, space, name)["status"]["conditions"]
        return next(((r["reason"], r["message"]) for r in rows if (r["type"], r["status"]) == ("Scheduled", "False")), None)  # fmt: skip

    answer: tuple[str, str] = eventually(found, 15, f"{name} is unscheduled")
    return answer


def cluster(fleet: Fleet, name: str) -> dict[str, Any]:
    return fleet.hub.get(f"/apis/cluster.karmada.io/v1alpha1/clusters/{name}") or {}


def allocatable(fleet: Fleet, name: str) -> Any:
    return cluster(fleet, name)["status"].get("resourceSummary", {}).get("allocatable", {}).get("cpu")


def cores_used(fleet: Fleet, name: str) -> Any:
    summary = cluster(fleet, name)["status"]["resourceSummary"]
    return (summary.get("allocated") or {}).get("cpu") or (summary.get("allocating") or {}).get("cpu")


def explain(fleet: Fleet, space: str, name: str = "nginx") -> list[str]:
    """What `towline explain` prints of a Deployment."""
    return towline(fleet, "explain", f"deployment/{name}", "-n", space)


def what_if(fleet: Fleet, *words: str) -> list[str]:
    return towline(fleet, "what-if", *words)


def towline(fleet: Fleet, *words: str) -> list[str]:
    return fleet.towline(*words, "--kubeconfig", str(fleet.hub_data / "admin.kubeconfig")).stdout.splitlines()
