"""What Services, and what is behind them, must satisfy beyond their schemas: Service, Endpoints, EndpointSlice.

Hooks are `(new, old) -> errors`, and stand objects of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towline.kube import errors, names
from towline.kube.cells import at, maps, table
from towline.kube.field_rules import PROTOCOLS, address, one_of, port, port_or_name, unchanged
from towline.kube.objects import Object
from towline.kube.schemas import FieldError

_SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_SESSION_AFFINITIES = ("ClientIP", "None")
_TRAFFIC_POLICIES = ("Cluster", "Local")
_ADDRESS_VERSIONS = {"IPv4": 4, "IPv6": 6}


def validate_service(new: Object, old: Object | None) -> list[FieldError]:
    spec = table(at(new, "spec"))
    kind, ports = at(spec, "type") or "ClusterIP", maps(at(spec, "ports"))
    if kind not in _SERVICE_TYPES:
        return [errors.unsupported("spec.type", kind, _SERVICE_TYPES)]
    found: list[FieldError] = []
    if kind == "ExternalName":
        name = str(spec.get("externalName") or "").removesuffix(".")
        if not name:
            found.append(errors.required("spec.externalName"))
        found += [
            errors.invalid("spec.externalName", name, m) for m in names.validate_subdomain(name) if name
        ]
    elif not ports and spec.get("clusterIP") != "None":
        found.append(errors.required("spec.ports"))
    found += _ports(ports)
    for key, value in table(spec.get("selector")).items():
        wrong = [*names.validate_qualified_name(str(key)), *names.validate_label_value(str(value))]
        found += [errors.invalid("spec.selector", key, message) for message in wrong]
    found += one_of(spec.get("sessionAffinity"), "spec.sessionAffinity", _SESSION_AFFINITIES)
    found += one_of(spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy", _TRAFFIC_POLICIES)
    policy = spec.get("externalTrafficPolicy")
    if policy and kind not in ("NodePort", "LoadBalancer") and not spec.get("externalIPs"):
        message = "may only be set for externally-accessible services"
        found.append(errors.invalid("spec.externalTrafficPolicy", policy, message))
    else:
        found += one_of(policy, "spec.externalTrafficPolicy", _TRAFFIC_POLICIES)
    return found + _cluster_addresses(spec, kind, old)


def _ports(ports: list[Mapping[str, Any]]) -> list[FieldError]:
    found: list[FieldError] = []
    seen_names: set[Any] = set()
    seen: set[tuple[Any, Any]] = set()
    for index, given in enumerate(ports):
        path, name, protocol = f"spec.ports[{index}]", given.get("name"), given.get("protocol", "TCP")
        if len(ports) > 1 and not name:
            found.append(errors.required(f"{path}.name"))
        if name:
            found += [errors.invalid(f"{path}.name", name, m) for m in names.validate_label(str(name))]
            if name in seen_names:
                found.append(errors.duplicate(f"{path}.name", name))
            seen_names.add(name)
        found += port(given.get("port"), f"{path}.port")
        found += one_of(protocol, f"{path}.protocol", PROTOCOLS)
        if given.get("targetPort") is not None:
            found += port_or_name(given["targetPort"], f"{path}.targetPort")
        place = (str(given.get("port")), str(protocol))
        if place in seen:
            found.append(errors.duplicate(path, {"port": given.get("port"), "protocol": protocol}))
        seen.add(place)
    return found


def _cluster_addresses(spec: Mapping[str, Any], kind: str, old: Object | None) -> list[FieldError]:
    """Given by the member, or chosen; once there, they stay."""
    if kind == "ExternalName":
        return []
    found, given = [], spec.get("clusterIP")
    if given not in (None, "", "None"):
        found += address(given, "spec.clusterIPs[0]")
    before = at(old, "spec", "clusterIP")
    if at(old, "spec", "type") not in (None, "ExternalName") and before not in (None, "", given):
        found.append(errors.invalid("spec.clusterIPs[0]", [given], "may not change once set"))
    return found


# --- endpoints -----------------------------------------------------------------------------------------------------


def validate_endpoints(new: Object, old: Object | None) -> list[FieldError]:
    found: list[FieldError] = []
    for n, subset in enumerate(maps(new.get("subsets"))):
        path = f"subsets[{n}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            found.append(errors.required(path, "must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for m, given in enumerate(maps(subset.get(field))):
                found += address(given.get("ip"), f"{path}.{field}[{m}].ip")
        ports = maps(subset.get("ports"))
        for m, given in enumerate(ports):
            where = f"{path}.ports[{m}]"
            if len(ports) > 1 and not given.get("name"):
                found.append(errors.required(f"{where}.name"))
            found += port(given.get("port"), f"{where}.port")
            found += one_of(given.get("protocol"), f"{where}.protocol", PROTOCOLS)
    return found


def validate_endpoint_slice(new: Object, old: Object | None) -> list[FieldError]:
    kind, found = new.get("addressType"), unchanged(new, old, "addressType")
    if found:
        return found
    found += one_of(kind, "addressType", ("FQDN", "IPv4", "IPv6"))
    for n, endpoint in enumerate(maps(new.get("endpoints"))):
        path, addresses = f"endpoints[{n}].addresses", endpoint.get("addresses")
        if not addresses:
            found.append(errors.required(path, "must contain at least 1 address"))
        for m, given in enumerate(addresses if isinstance(addresses, list) else ()):
            where = f"{path}[{m}]"
            if kind in _ADDRESS_VERSIONS:
                found += address(given, where, _ADDRESS_VERSIONS[str(kind)])
            else:
                found += [errors.invalid(where, given, m) for m in names.validate_subdomain(str(given))]
    seen: set[str] = set()
    for n, given in enumerate(maps(new.get("ports"))):
        name = str(given.get("name") or "")
        if name in seen:
            found.append(errors.duplicate(f"ports[{n}].name", name))
        seen.add(name)
        found += one_of(given.get("protocol"), f"ports[{n}].protocol", PROTOCOLS)
    return found
