"""What one replica needs, read from a pod template, and the replica count of workloads with `spec.replicas`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from towline.kube import quantities
from towline.kube.cells import at, maps, table
from towline.kube.interpreter.operations import Replicas, with_spec
from towline.kube.objects import Object

Requests = dict[str, str]


def spec_replicas(obj: Object) -> Replicas:
    """replicas: `spec.replicas` and the pod template's requirements."""
    count = at(obj, "spec", "replicas")
    return (count if isinstance(count, int) else 0), requirements_of(at(obj, "spec", "template", "spec"))


def revise_spec_replicas(obj: Object, count: int) -> Object:
    """revise_replicas: only where the object says how many, as a scaler may own the field."""
    present = at(obj, "spec", "replicas")
    return obj if present is None or present == count else with_spec(obj, replicas=count)


def requirements_of(pod: Any) -> Object | None:
    """The requirements of a pod with spec `pod`; None when it needs nothing in particular."""
    claim: Object = {}
    affinity = at(pod, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    if affinity:
        claim["hardNodeAffinity"] = affinity
    for field in ("nodeSelector", "tolerations"):
        if at(pod, field):
            claim[field] = at(pod, field)
    needs: Object = {}
    if claim:
        needs["nodeClaim"] = claim
    if request := effective_requests(pod):
        needs["resourceRequest"] = request
    if at(pod, "priorityClassName"):
        needs["priorityClassName"] = at(pod, "priorityClassName")
    return needs or None


def effective_requests(pod: Any) -> Requests:
    """What a scheduler reserves for a pod with spec `pod`: containers and sidecars together, or what an init
    container needs beside the sidecars started before it, whichever is more; a request for the pod as a whole
    instead, if there is one; and the overhead. Quantities that cannot be read count as nothing."""
    running = _total(_requests(container) for container in maps(at(pod, "containers")))
    sidecars: Requests = {}
    peak: Requests = {}
    for container in maps(at(pod, "initContainers")):
        if container.get("restartPolicy") == "Always":
            sidecars = _total((sidecars, _requests(container)))
            peak = _most(peak, sidecars)
        else:
            peak = _most(peak, _total((sidecars, _requests(container))))
    needed = _most(_total((running, sidecars)), peak)
    needed |= _readable(table(at(pod, "resources", "requests")))
    return _total((needed, _readable(table(at(pod, "overhead")))))


def _requests(container: Mapping[str, Any]) -> Requests:
    """Its requests; a limit without a request is one, as the API server's default has it."""
    resources = table(container.get("resources"))
    return _readable({**table(resources.get("limits")), **table(resources.get("requests"))})


def _readable(amounts: Mapping[str, Any]) -> Requests:
    readable: Requests = {}
    for name, amount in amounts.items():
        try:
            quantities.parse(amount)
        except (quantities.QuantityError, TypeError):
            continue
        readable[name] = str(quantities.canonical(amount))
    return readable


def _total(parts: Iterable[Requests]) -> Requests:
    amounts: dict[str, list[str]] = {}
    for part in parts:
        for name, amount in part.items():
            amounts.setdefault(name, []).append(amount)
    return {name: found[0] if len(found) == 1 else quantities.add(found) for name, found in amounts.items()}


def _most(one: Requests, other: Requests) -> Requests:
    larger = {**one}
    for name, amount in other.items():
        if name not in larger or quantities.parse(amount) > quantities.parse(larger[name]):
            larger[name] = amount
    return larger
