"""What Ingresses and their like must satisfy beyond their schemas: Ingress and its class, MultiClusterIngress,
MultiClusterService, NetworkPolicy.

Every function answers errors with field paths, and stands parts of any shape.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from towline.kube import errors, names
from towline.kube.cells import at, maps, table
from towline.kube.field_rules import (
    PROTOCOLS,
    address,
    is_address,
    one_of,
    port_name,
    unchanged,
)
from towline.kube.field_rules import port as port_number
from towline.kube.objects import Object
from towline.kube.schemas import FieldError
from towline.kube.selector_validation import validate_label_selector

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_PATH_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_PATH_ENDS = ("/..", "/.")
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_SERVICE_TYPES = ("CrossCluster", "LoadBalancer")


def validate_ingress(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of Ingress and MultiClusterIngress."""
    spec = table(new.get("spec"))
    found: list[FieldError] = []
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        message = "either `defaultBackend` or `rules` must be specified"
        found.append(errors.invalid("spec", spec.get("rules"), message))
    if spec.get("defaultBackend") is not None:
        found += _backend(spec["defaultBackend"], "spec.defaultBackend")
    for n, rule in enumerate(maps(spec.get("rules"))):
        path = f"spec.rules[{n}]"
        found += _host(rule.get("host"), f"{path}.host")
        if rule.get("http") is not None:
            found += _paths(table(rule["http"]), f"{path}.http.paths")
    for n, tls in enumerate(maps(spec.get("tls"))):
        hosts = tls.get("hosts")
        for m, host in enumerate(hosts if isinstance(hosts, list) else ()):
            found += _host(host, f"spec.tls[{n}].hosts[{m}]", addresses=True)
        found += _named(tls.get("secretName"), f"spec.tls[{n}].secretName")
    found += _named(spec.get("ingressClassName"), "spec.ingressClassName")
    return found + _load_balancer(at(new, "status", "loadBalancer"), "status.loadBalancer")


def _paths(http: Mapping[str, Any], path: str) -> list[FieldError]:
    paths = maps(http.get("paths"))
    found = [] if paths else [errors.required(path)]
    for n, rule in enumerate(paths):
        where = f"{path}[{n}]"
        if rule.get("pathType") is None:
            found.append(errors.required(f"{where}.pathType", "pathType must be specified"))
            continue
        if rule["pathType"] not in _PATH_TYPES:
            found.append(errors.unsupported(f"{where}.pathType", rule["pathType"], _PATH_TYPES))
        else:
            text = str(rule.get("path") or "")
            found += [errors.invalid(f"{where}.path", text, m) for m in _wrong_path(rule["pathType"], text)]
        found += _backend(rule.get("backend"), f"{where}.backend")
    return found


def _wrong_path(kind: Any, path: str) -> Iterator[str]:
    exact = kind != "ImplementationSpecific"
    if (path or exact) and not path.startswith("/"):
        yield "must be an absolute path"
    for part in _PATH_PARTS if exact else ():
        if part in path:
            yield f"must not contain '{part}'"
    for end in _PATH_ENDS if exact else ():
        if path.endswith(end):
            yield f"cannot end with '{end}'"


def _backend(backend: Any, path: str) -> list[FieldError]:
    service, resource = at(backend, "service"), at(backend, "resource")
    if service is not None and resource is not None:
        return [errors.invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return [
            errors.required(f"{path}.resource.{field}")
            for field in ("kind", "name")
            if not at(resource, field)
        ]
    if service is None:
        return [errors.invalid(path, "", "resource or service backend is required")]
    name, port = str(at(service, "name") or ""), table(at(service, "port"))
    found = [errors.invalid(f"{path}.service.name", name, m) for m in names.validate_label(name) if name]
    if not name:
        found.append(errors.required(f"{path}.service.name"))
    if port.get("name") and port.get("number"):
        return [*found, errors.invalid(path, "", "cannot set both port name & port number")]
    if port.get("name"):
        return found + port_name(str(port["name"]), f"{path}.service.port.name")
    if port.get("number"):
        return found + port_number(port["number"], f"{path}.service.port.number")
    return [*found, errors.required(path, "port name or number is required")]


def _host(host: Any, path: str, *, addresses: bool = False) -> list[FieldError]:
    if not host:
        return []
    text = str(host)
    if is_address(text) and not addresses:
        return [errors.invalid(path, text, "must be a DNS name, not an IP address")]
    if "*" in text:
        rest = text.removeprefix("*.")
        wrong = "*" in rest or bool(names.validate_subdomain(rest))
        message = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain"
        return [errors.invalid(path, text, message)] if wrong else []
    return [errors.invalid(path, text, message) for message in names.validate_subdomain(text)]


def _named(name: Any, path: str) -> list[FieldError]:
    return [errors.invalid(path, name, m) for m in names.validate_subdomain(str(name))] if name else []


def _load_balancer(status: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for n, entry in enumerate(maps(at(status, "ingress"))):
        where = f"{path}.ingress[{n}]"
        if entry.get("ip"):
            found += address(entry["ip"], f"{where}.ip")
        host = entry.get("hostname")
        if host and is_address(str(host)):
            found.append(errors.invalid(f"{where}.hostname", host, "must be a DNS name, not an IP address"))
        else:
            found += _named(host, f"{where}.hostname")
    return found


def validate_ingress_class(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of IngressClass. Its controller is a domain with a path."""
    controller = str(at(new, "spec", "controller") or "")
    domain, slash, rest = controller.partition("/")
    found = unchanged(new, old, "spec", "controller")
    if not controller:
        found.append(errors.required("spec.controller"))
    elif not slash or not rest or names.validate_subdomain(domain):
        message = 'must be a domain-prefixed path (such as "acme.io/foo")'
        found.append(errors.invalid("spec.controller", controller, message))
    return found


# --- network policies ----------------------------------------------------------------------------------------


def validate_network_policy(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of NetworkPolicy."""
    spec = table(new.get("spec"))
    found = validate_label_selector(spec.get("podSelector"), "spec.podSelector")
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for n, rule in enumerate(maps(spec.get(direction))):
            path = f"spec.{direction}[{n}]"
            for m, given in enumerate(maps(rule.get("ports"))):
                found += _policy_port(given, f"{path}.ports[{m}]")
            for m, peer in enumerate(maps(rule.get(side))):
                found += _peer(peer, f"{path}.{side}[{m}]")
    types = spec.get("policyTypes")
    for n, name in enumerate(types if isinstance(types, list) else ()):
        found += one_of(name, f"spec.policyTypes[{n}]", ("Ingress", "Egress"))
    return found


def _policy_port(given: Mapping[str, Any], path: str) -> list[FieldError]:
    found = one_of(given.get("protocol"), f"{path}.protocol", PROTOCOLS)
    first, last = given.get("port"), given.get("endPort")
    if isinstance(first, int):
        found += port_number(first, f"{path}.port")
        if isinstance(last, int):
            found += port_number(last, f"{path}.endPort")
            if last < first:
                message = "must be greater than or equal to `port`"
                found.append(errors.invalid(f"{path}.endPort", last, message))
        return found
    if last is not None:
        why = "non-numeric" if first is not None else "not specified"
        found.append(errors.invalid(f"{path}.endPort", last, f"may not be specified when `port` is {why}"))
    return found + (port_name(first, f"{path}.port") if isinstance(first, str) else [])


def _peer(peer: Mapping[str, Any], path: str) -> list[FieldError]:
    given = [
        field for field in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(field) is not None
    ]
    if not given:
        return [errors.required(path, "must specify a peer")]
    found: list[FieldError] = []
    if "ipBlock" in given and len(given) > 1:
        found.append(errors.forbidden(path, "may not specify both ipBlock and another peer"))
    for field in ("podSelector", "namespaceSelector"):
        found += validate_label_selector(peer.get(field), f"{path}.{field}")
    if "ipBlock" in given:
        found += _block(table(peer["ipBlock"]), f"{path}.ipBlock")
    return found


def _block(block: Mapping[str, Any], path: str) -> list[FieldError]:
    whole = _network(block.get("cidr"))
    if not block.get("cidr"):
        return [errors.required(f"{path}.cidr")]
    if whole is None:
        return [errors.invalid(f"{path}.cidr", block["cidr"], _CIDR)]
    found: list[FieldError] = []
    excepted = block.get("except")
    for n, text in enumerate(excepted if isinstance(excepted, list) else ()):
        part, where = _network(text), f"{path}.except[{n}]"
        if part is None:
            found.append(errors.invalid(where, text, _CIDR))
        elif part.version != whole.version or part == whole or not part.subnet_of(whole):  # type: ignore[arg-type]
            found.append(errors.invalid(where, text, "must be a strict subset of `cidr`"))
    return found


def _network(text: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(str(text), strict=False) if "/" in str(text) else None
    except ValueError:
        return None


# --- services of several clusters ----------------------------------------------------------------------------


def validate_multi_cluster_service(new: Object, old: Object | None) -> list[FieldError]:
    """The hook of MultiClusterService."""
    spec = table(new.get("spec"))
    found: list[FieldError] = []
    seen: set[str] = set()
    for n, port in enumerate(maps(spec.get("ports"))):
        path, name = f"spec.ports[{n}]", str(port.get("name") or "")
        found += port_number(port.get("port"), f"{path}.port")
        if name and name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
    found += _types(spec.get("types"), at(old, "spec", "types"))
    given = [
        *_texts(at(spec, "range", "clusterNames"), "spec.range.clusterNames"),
        *_texts(spec.get("serviceProvisionClusters"), "spec.serviceProvisionClusters"),
        *_texts(spec.get("serviceConsumptionClusters"), "spec.serviceConsumptionClusters"),
    ]
    for field in ("providerClusters", "consumerClusters"):
        clusters = enumerate(maps(spec.get(field)))
        given += [(f"spec.{field}[{n}].name", str(cluster.get("name") or "")) for n, cluster in clusters]
    return found + [
        errors.invalid(path, name, message)
        for path, name in given
        for message in names.validate_cluster_name(name)
    ]


def _texts(values: Any, path: str) -> list[tuple[str, str]]:
    return [(f"{path}[{n}]", str(v)) for n, v in enumerate(values if isinstance(values, list) else ())]


def _types(types: Any, before: Any) -> list[FieldError]:
    path = "spec.types"
    given = types if isinstance(types, list) else []
    found = [
        errors.unsupported(f"{path}[{n}]", kind, _SERVICE_TYPES)
        for n, kind in enumerate(given)
        if kind not in _SERVICE_TYPES
    ]
    if not found and len(set(given)) != 1:
        found.append(
            errors.invalid(path, given, "must be one of CrossCluster and LoadBalancer, and only one")
        )
    if before is not None and before != types:
        found.append(errors.invalid(path, types, errors.IMMUTABLE))
    return found
