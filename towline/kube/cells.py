"""Cells of printer columns: how a value that no JSONPath can say is read from a built-in kind's object.

A cell without a value is `<none>`, `<unset>` or empty, as Kubernetes shows it. Objects may be incomplete or
ill-typed: readers that meet such show less, and the table catches what still raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from towline.kube.objects import Object, annotations_of, is_deleting, labels_of

NONE = "<none>"
UNSET = "<unset>"


def at(obj: Any, *path: str) -> Any:
    """The value below `obj` at `path`, or None when any step is missing."""
    for step in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(step)
    return obj


def conditions(obj: Object) -> dict[str, Mapping[str, Any]]:
    """`status.conditions` by type."""
    return {str(c.get("type")): c for c in maps(at(obj, "status", "conditions"))}


# --- cells ---------------------------------------------------------------------------------------------------


def table(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def maps(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def number(*path: str) -> Callable[[Object], int]:
    return lambda obj: at(obj, *path) or 0


def text(*path: str, default: str = NONE) -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        value = at(obj, *path)
        return default if value is None or value == "" else str(value)

    return cell


def go_bool(*path: str, unset: str = "false") -> Callable[[Object], str]:
    """`true` or `false`; `True` or `False` where Kubernetes prints it so (`unset` gives the style)."""

    def cell(obj: Object) -> str:
        value = at(obj, *path)
        word = unset if value is None else str(bool(value))
        return word if unset[0].isupper() else word.lower()

    return cell


def join(values: Iterable[Any], default: str = NONE) -> str:
    return ",".join(str(v) for v in values) or default


def ratio(ready: tuple[str, ...], wanted: tuple[str, ...], default: int) -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        total = at(obj, *wanted)
        return f"{at(obj, *ready) or 0}/{default if total is None else total}"

    return cell


def containers(field: str, *path: str) -> Callable[[Object], str]:
    """One field of all containers of the pod template at `path`."""
    return lambda obj: join((c.get(field, "") for c in maps(at(obj, *path, "spec", "containers"))), "")


def selector_text(selector: Any) -> str:
    """A LabelSelector (or a plain map) in query notation: `app=web,tier in (a,b)`."""
    if not isinstance(selector, Mapping) or not selector:
        return NONE
    labels = selector.get("matchLabels", {} if "matchExpressions" in selector else selector) or {}
    terms = [f"{key}={value}" for key, value in sorted(labels.items())]
    for term in maps(selector.get("matchExpressions")):
        key, values = term.get("key"), ",".join(sorted(term.get("values") or []))
        words = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": str(key)}
        terms.append(words.get(str(term.get("operator")), f"!{key}"))
    return ",".join(terms) or NONE


def selector(*path: str) -> Callable[[Object], str]:
    return lambda obj: selector_text(at(obj, *path))


def _pod_counts(obj: Object) -> tuple[int, int, int]:
    """(ready containers, all containers, restarts); sidecar init containers count as containers."""
    sidecars = {
        c.get("name") for c in maps(at(obj, "spec", "initContainers")) if c.get("restartPolicy") == "Always"
    }
    statuses = [s for s in maps(at(obj, "status", "initContainerStatuses")) if s.get("name") in sidecars]
    statuses += maps(at(obj, "status", "containerStatuses"))
    ready = sum(1 for s in statuses if s.get("ready") and at(s, "state", "running") is not None)
    total = len(maps(at(obj, "spec", "containers"))) + len(sidecars)
    return ready, total, sum(int(s.get("restartCount") or 0) for s in statuses)


def pod_ready(obj: Object) -> str:
    ready, total, _ = _pod_counts(obj)
    return f"{ready}/{total}"


def pod_restarts(obj: Object) -> str:
    return str(_pod_counts(obj)[2])


def pod_status(obj: Object) -> str:
    """The one word for a pod's state: the phase, unless a container or the deletion says something more telling."""
    reason = str(at(obj, "status", "reason") or at(obj, "status", "phase") or "Unknown")
    for condition in maps(at(obj, "status", "conditions")):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    initializing = _init_status(obj)
    if initializing is not None:
        reason = initializing
    else:
        running = False
        for status in reversed(maps(at(obj, "status", "containerStatuses"))):
            running = running or bool(status.get("ready") and at(status, "state", "running") is not None)
            reason = _container_reason(status) or reason
        if reason == "Completed" and running:
            reason = "Running" if conditions(obj).get("Ready", {}).get("status") == "True" else "NotReady"
    if is_deleting(obj):
        return "Unknown" if at(obj, "status", "reason") == "NodeLost" else "Terminating"
    return reason


def _init_status(obj: Object) -> str | None:
    """`Init:1/2` and the like while init containers are under way."""
    declared = maps(at(obj, "spec", "initContainers"))
    sidecars = {c.get("name") for c in declared if c.get("restartPolicy") == "Always"}
    for position, status in enumerate(maps(at(obj, "status", "initContainerStatuses"))):
        terminated = at(status, "state", "terminated")
        if isinstance(terminated, Mapping) and terminated.get("exitCode", 0) == 0:
            continue
        if status.get("name") in sidecars and status.get("started"):
            continue
        reason = _container_reason(status)
        return (
            f"Init:{reason}" if reason and reason != "PodInitializing" else f"Init:{position}/{len(declared)}"
        )
    return None


def _container_reason(status: Mapping[str, Any]) -> str | None:
    waiting, terminated = at(status, "state", "waiting", "reason"), at(status, "state", "terminated")
    if waiting:
        return str(waiting)
    if not isinstance(terminated, Mapping):
        return None
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def readiness_gates(obj: Object) -> str:
    gates = maps(at(obj, "spec", "readinessGates"))
    met = [g for g in gates if conditions(obj).get(str(g.get("conditionType")), {}).get("status") == "True"]
    return f"{len(met)}/{len(gates)}" if gates else NONE


def load_balancer(obj: Object) -> list[str]:
    entries = maps(at(obj, "status", "loadBalancer", "ingress"))
    return [str(e.get("ip") or e.get("hostname")) for e in entries if e.get("ip") or e.get("hostname")]


def external_ip(obj: Object) -> str:
    kind, external = at(obj, "spec", "type"), at(obj, "spec", "externalIPs") or []
    if kind == "ExternalName":
        return text("spec", "externalName")(obj)
    if kind == "LoadBalancer":
        return join([*load_balancer(obj), *external], "<pending>")
    return join(external)


def service_ports(obj: Object) -> str:
    def port(p: Mapping[str, Any]) -> str:
        node = f":{p['nodePort']}" if p.get("nodePort") else ""
        return f"{p.get('port')}{node}/{p.get('protocol') or 'TCP'}"

    return join(port(p) for p in maps(at(obj, "spec", "ports")))


def slice_ports(obj: Object) -> str:
    return (
        _shortened([str(p.get("port") or "*") for p in maps(at(obj, "ports"))]) if at(obj, "ports") else UNSET
    )


def endpoints(obj: Object) -> str:
    found = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in maps(at(obj, "subsets"))
        for port in maps(subset.get("ports"))
        for address in maps(subset.get("addresses"))
    ]
    return _shortened(found)


def _shortened(values: list[str], shown: int = 3) -> str:
    if len(values) > shown:
        return f"{','.join(values[:shown])} + {len(values) - shown} more..."
    return join(values)


def slice_endpoints(obj: Object) -> str:
    return _shortened([str(a) for e in maps(at(obj, "endpoints")) for a in e.get("addresses") or []])


def node_status(obj: Object) -> str:
    ready = conditions(obj).get("Ready", {}).get("status")
    words = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    return ",".join([*words, "SchedulingDisabled"] if at(obj, "spec", "unschedulable") else words)


def node_roles(obj: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = {label.removeprefix(prefix) for label in labels_of(obj) if label.startswith(prefix)}
    if legacy := labels_of(obj).get("kubernetes.io/role"):
        roles.add(legacy)
    return join(sorted(role for role in roles if role))


def node_address(kind: str) -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        addresses = maps(at(obj, "status", "addresses"))
        return next((str(a.get("address")) for a in addresses if a.get("type") == kind), NONE)

    return cell


def job_status(obj: Object) -> str:
    found = {name for name, c in conditions(obj).items() if c.get("status") == "True"}
    for condition, word in (
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
        ("FailureTarget", "FailureTarget"),
        ("Suspended", "Suspended"),
    ):
        if condition in found:
            return word
    return "Terminating" if is_deleting(obj) else "Running"


def job_completions(obj: Object) -> str:
    done, wanted, parallel = (
        at(obj, "status", "succeeded") or 0,
        at(obj, "spec", "completions"),
        at(obj, "spec", "parallelism") or 0,
    )
    if wanted is not None:
        return f"{done}/{wanted}"
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def job_duration(obj: Object) -> str | None:
    """How long a finished job took. A running job's would need the time of day, which no cell knows."""
    try:
        start = datetime.fromisoformat(at(obj, "status", "startTime"))
        end = datetime.fromisoformat(at(obj, "status", "completionTime"))
    except (TypeError, ValueError):
        return None
    return human_duration((end - start).total_seconds())


def human_duration(seconds: float) -> str:
    """A duration as kubectl shows ages: two units at most, one when the other no longer matters (`4m10s`, `3d`). A second
    in the future is a clock's difference; more is invalid."""
    if seconds < -1:
        return "<invalid>"
    whole = max(int(seconds), 0)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _units(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _units(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _units(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def hosts(obj: Object) -> str:
    found = [str(rule["host"]) for rule in maps(at(obj, "spec", "rules")) if rule.get("host")]
    return _shortened(found) if found else "*"


def access_modes(modes: Any) -> str:
    short = {
        "ReadWriteOnce": "RWO",
        "ReadOnlyMany": "ROX",
        "ReadWriteMany": "RWX",
        "ReadWriteOncePod": "RWOP",
    }
    present = modes if isinstance(modes, list) else []
    return ",".join(word for mode, word in short.items() if mode in present)


def claim(obj: Object) -> str:
    claim = at(obj, "spec", "claimRef")
    return f"{claim.get('namespace')}/{claim.get('name')}" if isinstance(claim, Mapping) else ""


def default_class(obj: Object, field: str) -> str:
    beta = annotations_of(obj).get("volume.beta.kubernetes.io/storage-class")
    return beta or str(at(obj, "spec", field) or "")


def deleting_or(*path: str) -> Callable[[Object], str]:
    return lambda obj: "Terminating" if is_deleting(obj) else str(at(obj, *path) or "")


def hpa_targets(obj: Object) -> str:
    current = maps(at(obj, "status", "currentMetrics"))
    wanted = maps(at(obj, "spec", "metrics"))
    cells = [_hpa_target(metric, current[n] if n < len(current) else {}) for n, metric in enumerate(wanted)]
    more = f" + {len(cells) - 2} more..." if len(cells) > 2 else ""
    return (", ".join(cells[:2]) + more) or NONE


def _hpa_target(metric: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    kind = str(metric.get("type") or "")
    source = metric.get(kind[:1].lower() + kind[1:])
    found = current.get(kind[:1].lower() + kind[1:])
    target, now = at(source, "target") or {}, at(found, "current") or {}
    name = f"{at(source, 'name')}: " if kind in ("Resource", "ContainerResource") else ""
    if target.get("averageUtilization") is not None:
        used = now.get("averageUtilization")
        return f"{name}{'<unknown>' if used is None else f'{used}%'}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        suffix = "" if kind in ("Resource", "ContainerResource", "Pods") else " (avg)"
        return f"{name}{now.get('averageValue') or '<unknown>'}/{target['averageValue']}{suffix}"
    return f"{name}{now.get('value') or '<unknown>'}/{target.get('value') or '<auto>'}"


def quota(prefix: Callable[[str], bool]) -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        hard = table(at(obj, "status", "hard"))
        used = at(obj, "status", "used") or {}
        return ", ".join(f"{n}: {used.get(n, 0)}/{hard[n]}" for n in sorted(hard) if prefix(n))

    return cell


def subjects(kind: str) -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        names = []
        for subject in maps(at(obj, "subjects")):
            if subject.get("kind") == kind:
                scope = f"{subject.get('namespace')}/" if kind == "ServiceAccount" else ""
                names.append(f"{scope}{subject.get('name')}")
        return ", ".join(names)

    return cell


def reference(*path: str) -> Callable[[Object], str]:
    def cell(obj: Object) -> str:
        target = at(obj, *path)
        return f"{target.get('kind')}/{target.get('name')}" if isinstance(target, Mapping) else NONE

    return cell


def parameters(obj: Object) -> str:
    """An IngressClass's parameters: `Kind.group/name`."""
    target = at(obj, "spec", "parameters")
    if not isinstance(target, Mapping):
        return NONE
    group = f".{target['apiGroup']}" if target.get("apiGroup") else ""
    return f"{target.get('kind')}{group}/{target.get('name')}"


def event_object(obj: Object) -> str:
    target = at(obj, "involvedObject") or {}
    return f"{str(target.get('kind') or '').lower()}/{target.get('name') or ''}"


def event_time(field: str) -> Callable[[Object], Any]:
    return lambda obj: at(obj, "series", "lastObservedTime") or at(obj, field) or at(obj, "eventTime")


def event_count(obj: Object) -> int:
    return int(at(obj, "series", "count") or obj.get("count") or 1)


def event_source(obj: Object) -> str:
    component = at(obj, "source", "component") or obj.get("reportingComponent")
    parts = [component, at(obj, "source", "host") or obj.get("reportingInstance")]
    return ", ".join(str(part) for part in parts if part)


def owner(obj: Object) -> str:
    for owner in maps(at(obj, "metadata", "ownerReferences")):
        if owner.get("controller"):
            group = str(owner.get("apiVersion") or "").rpartition("/")[0]
            return f"{str(owner.get('kind')).lower()}{f'.{group}' if group else ''}/{owner.get('name')}"
    return NONE


def token_requests(obj: Object) -> str:
    """A CSIDriver's audiences."""
    audiences = (str(request.get("audience") or "") for request in maps(at(obj, "spec", "tokenRequests")))
    return join(audiences, UNSET)


def count(*fields: str) -> Callable[[Object], int]:
    return lambda obj: sum(len(at(obj, field) or ()) for field in fields)
