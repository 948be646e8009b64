"""A Pod's life: a node, an address, ready after a delay, and (for Jobs) done after another.

Three annotations steer it. They are read from the Pod (so from the template that made it) and from its owners,
the nearest first, and they work on live Pods too:
- `sim.towline.io/fail`: "true" (CrashLoopBackOff), or a reason: the Pod never becomes ready; a Job's Pod fails;
- `sim.towline.io/ready-seconds`: the delay from creation to ready, instead of the member's own;
- `sim.towline.io/complete-seconds`: the delay from ready to done, for Pods of Jobs.
"""

from __future__ import annotations

from typing import Any

from towline.hub.sim.cluster import allocatable_of, requests_of
from towline.hub.sim.round import Round, condition_of, controller_uid, with_condition
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    is_deleting,
    name_of,
    with_annotations,
)

FAIL = "sim.towline.io/fail"
READY_SECONDS = "sim.towline.io/ready-seconds"
COMPLETE_SECONDS = "sim.towline.io/complete-seconds"
STEERING = (FAIL, READY_SECONDS, COMPLETE_SECONDS)

READY_AT = "sim.towline.io/ready-at"
"""On Pods: when it becomes ready, epoch seconds. Times in a status are whole seconds; this one is exact."""

POD_NETWORK, POD_BITS = 0x0AF40000, 16  # 10.244.0.0/16
WAITING_REASONS = ("ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError", "ContainerCreating")
"""Reasons that keep a Pod in phase Pending; with any other its containers start and end."""


def run_pod(round: Round, key: Key, pod: Object) -> None:
    """The kubelet's and the scheduler's part for one Pod."""
    if not is_active(pod):
        return
    if not (pod.get("spec") or {}).get("nodeName"):
        node = choose_node(round, pod)
        if node is None:
            _refuse(round, key, pod)
            return
        pod = {**pod, "spec": {**pod["spec"], "nodeName": name_of(node)}}
    _live(round, key, pod)


def is_ready(pod: Object) -> bool:
    condition = condition_of(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def is_active(pod: Object) -> bool:
    """Counts as a replica: neither ended nor going."""
    return not is_deleting(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def available_at(pod: Object, min_ready_seconds: float) -> float | None:
    """When a ready Pod counts as available (epoch seconds); None while it is not ready."""
    if not is_ready(pod):
        return None
    return float(annotations_of(pod).get(READY_AT) or 0) + min_ready_seconds


def node_takes(node: Object, pod_spec: dict[str, Any]) -> bool:
    """Whether the node is open for this Pod: its nodeSelector matches and the node is not cordoned."""
    labels = (node.get("metadata") or {}).get("labels") or {}
    wanted = pod_spec.get("nodeSelector") or {}
    return not (node.get("spec") or {}).get("unschedulable") and all(
        labels.get(k) == v for k, v in wanted.items()
    )


def choose_node(round: Round, pod: Object) -> Object | None:
    """The node with the fewest Pods among those that have room."""
    wanted = requests_of(pod.get("spec") or {})
    best: tuple[int, str] | None = None
    chosen = None
    for node in round.cluster.scan("", "nodes"):
        use = round.use_of(name_of(node))
        rank = (use.pods, name_of(node))
        if best is not None and rank >= best:
            continue
        if node_takes(node, pod["spec"]) and use.plus(wanted).fits(allocatable_of(node)):
            best, chosen = rank, node
    return chosen


def _live(round: Round, key: Key, pod: Object) -> None:
    """On its node: pending, then ready or failing, then (for a Job) over."""
    steering = _steering(round, pod)
    failing = steering.get(FAIL, "")
    reason = "" if failing == "false" else "CrashLoopBackOff" if failing == "true" else failing
    ready_at = _ready_at(round, pod, steering, reason)
    pod = with_annotations(pod, {READY_AT: f"{ready_at:.3f}"})
    status = _started_status(round, pod)
    if round.now < ready_at:
        round.wake(key, ready_at)
        round.put(key, {**pod, "status": _containers(pod, status, round.stamp, "ContainerCreating")})
        return
    if _is_of_a_job(pod):
        done_at = ready_at + _seconds(steering, COMPLETE_SECONDS, round.pace.complete_seconds)
        if round.now >= done_at:
            round.put(key, {**pod, "status": _ended(pod, status, round.stamp, reason)})
            return
        round.wake(key, done_at)
        reason = ""
    round.put(key, {**pod, "status": _containers(pod, status, round.stamp, reason)})


def _ready_at(round: Round, pod: Object, steering: dict[str, str], reason: str) -> float:
    """A Pod that failed and need not any more starts over; else the time once set stays."""
    delay = _seconds(steering, READY_SECONDS, round.pace.ready_seconds)
    known = annotations_of(pod).get(READY_AT)
    recovering = known is not None and not reason and _is_failing(pod)
    if known is None or recovering:
        return float(f"{round.now + delay:.3f}")
    return float(known)


def _is_failing(pod: Object) -> bool:
    """Has containers that wait for another reason than being created."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") != "ContainerCreating":
            return True
    return False


def _steering(round: Round, pod: Object) -> dict[str, str]:
    found: dict[str, str] = {}
    at: Object | None = pod
    while at is not None:
        annotations = annotations_of(at)
        for name in STEERING:
            if name in annotations:
                found.setdefault(name, annotations[name])
        at = round.controller(at) if controller_uid(at) else None
    return found


def _seconds(steering: dict[str, str], name: str, default: float) -> float:
    try:
        return max(0.0, float(steering.get(name, default)))
    except ValueError:
        return default


def _is_of_a_job(pod: Object) -> bool:
    refs = pod["metadata"].get("ownerReferences") or ()
    return any(ref.get("controller") and ref.get("kind") == "Job" for ref in refs)


def _refuse(round: Round, key: Key, pod: Object) -> None:
    nodes = len(round.cluster.scan("", "nodes"))
    message = f"0/{nodes} nodes are available: none has room for this Pod or matches its nodeSelector."
    status = pod.get("status") or {}
    conditions = with_condition(
        status.get("conditions"), round.stamp, "PodScheduled", "False", "Unschedulable", message
    )
    round.put_status(key, pod, {**status, "phase": "Pending", "conditions": conditions})


def _started_status(round: Round, pod: Object) -> Object:
    """What every Pod on a node has: start time, addresses, its quality-of-service class."""
    status = {**(pod.get("status") or {})}
    status.setdefault("startTime", round.stamp)
    if "podIP" not in status:
        status["podIP"] = round.new_address(POD_NETWORK, POD_BITS)
        status["podIPs"] = [{"ip": status["podIP"]}]
        status["hostIP"] = _address_of_node(round, pod["spec"]["nodeName"])
        status["hostIPs"] = [{"ip": status["hostIP"]}]
    status.setdefault("qosClass", _quality(pod["spec"]))
    return status


def _containers(pod: Object, status: Object, stamp: str, reason: str) -> Object:
    """The status of a Pod whose containers run (no reason) or wait for `reason`."""
    ready = not reason
    creating = reason == "ContainerCreating"
    containers = []
    before = {c.get("name"): c for c in status.get("containerStatuses") or ()}
    for spec in pod["spec"].get("containers") or ():
        old = before.get(spec.get("name")) or {}
        restarts = int(old.get("restartCount") or 0)
        made: Object = {**_container(spec), "ready": ready, "started": ready, "restartCount": restarts}
        if ready:
            running = (old.get("state") or {}).get("running") or {"startedAt": stamp}
            made["state"] = {"running": running}
        else:
            made["state"] = {"waiting": {"reason": reason}}
            if reason not in WAITING_REASONS:
                made["restartCount"] = max(restarts, 1)
                ended = {"exitCode": 1, "reason": "Error", "finishedAt": stamp, "startedAt": stamp}
                made["lastState"] = old.get("lastState") or {"terminated": ended}
        containers.append(made)
    names = ", ".join(str(c["name"]) for c in containers)
    words = (
        ("True", "", "")
        if ready
        else ("False", "ContainersNotReady", f"containers with unready status: [{names}]")
    )
    conditions = status.get("conditions")
    for type, state in (("Initialized", ("True", "", "")), ("Ready", words), ("ContainersReady", words)):
        conditions = with_condition(conditions, stamp, type, *state)
    conditions = with_condition(conditions, stamp, "PodScheduled", "True", "", "")
    phase = "Pending" if creating or reason in WAITING_REASONS else "Running"
    return {**status, "phase": phase, "conditions": conditions, "containerStatuses": containers}


def _ended(pod: Object, status: Object, stamp: str, reason: str) -> Object:
    """The status of a Job's Pod that is over, well or not."""
    ended = {
        "exitCode": 1 if reason else 0,
        "reason": "Error" if reason else "Completed",
        "startedAt": status["startTime"],
        "finishedAt": stamp,
    }
    containers = [
        {
            **_container(spec),
            "ready": False,
            "started": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        for spec in pod["spec"].get("containers") or ()
    ]
    conditions = status.get("conditions")
    why = "PodFailed" if reason else "PodCompleted"
    for type, state in (
        ("Initialized", ("True", "")),
        ("Ready", ("False", why)),
        ("ContainersReady", ("False", why)),
        ("PodScheduled", ("True", "")),
    ):
        conditions = with_condition(conditions, stamp, type, *state, "")
    made = {**status, "phase": "Failed" if reason else "Succeeded", "conditions": conditions}
    if reason:
        made["reason"] = reason
    return {**made, "containerStatuses": containers}


def _container(spec: Object) -> Object:
    image = spec.get("image") or ""
    return {"name": spec.get("name"), "image": image, "imageID": f"sim://{image}"}


def _address_of_node(round: Round, name: str) -> str:
    node = round.get(Key("", "nodes", "", name)) or {}
    for address in (node.get("status") or {}).get("addresses") or ():
        if address.get("type") == "InternalIP":
            return str(address.get("address"))
    return ""


def _quality(pod_spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by the containers' requests and limits."""
    limits, requests, equal = False, False, True
    for container in [*(pod_spec.get("containers") or ()), *(pod_spec.get("initContainers") or ())]:
        resources = container.get("resources") or {}
        has_limits, has_requests = resources.get("limits") or {}, resources.get("requests") or {}
        limits, requests = limits or bool(has_limits), requests or bool(has_requests)
        full = {"cpu", "memory"} <= set(has_limits)
        equal = equal and full and all(has_requests.get(k, v) == v for k, v in has_limits.items())
    if not limits and not requests:
        return "BestEffort"
    return "Guaranteed" if equal else "Burstable"
