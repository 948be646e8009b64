"""The functions that Kubernetes adds to CEL: lists, quantities, IPs, CIDRs and URLs. Pure.

Quantities, IPs, CIDRs and URLs are types of their own to CEL's checker. Their values are maps with one entry, which
make two that mean the same equal.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

from towline.kube import quantities

QUANTITY, IP, CIDR, URL = "kubernetes.Quantity", "net.IP", "net.CIDR", "kubernetes.URL"
TYPES = frozenset({QUANTITY, IP, CIDR, URL})

_LIST = "list<dyn>"


class Function(NamedTuple):
    """One overload."""

    parameters: tuple[str, ...]
    result: str
    call: Callable[..., Any]
    member: bool = True


def by_name() -> dict[str, tuple[Function, ...]]:
    """Every function with its overloads."""
    return {**_lists(), **_quantities(), **_addresses(), **_urls()}


# --- lists ---------------------------------------------------------------------------------------------------


def _lists() -> dict[str, tuple[Function, ...]]:
    return {
        "isSorted": (Function((_LIST,), "bool", lambda items: items == sorted(items)),),
        "sum": (Function((_LIST,), "dyn", sum),),
        "min": (Function((_LIST,), "dyn", min),),
        "max": (Function((_LIST,), "dyn", max),),
    }


# --- quantities ----------------------------------------------------------------------------------------------


def _quantities() -> dict[str, tuple[Function, ...]]:
    one, two = (QUANTITY,), (QUANTITY, QUANTITY)
    return {
        "quantity": (Function(("string",), QUANTITY, _quantity, member=False),),
        "isQuantity": (Function(("string",), "bool", _can(quantities.parse), member=False),),
        "sign": (Function(one, "int", lambda q: (_exact(q) > 0) - (_exact(q) < 0)),),
        "isInteger": (Function(one, "bool", lambda q: _exact(q).denominator == 1),),
        "asInteger": (Function(one, "int", _integer),),
        "asApproximateFloat": (Function(one, "double", lambda q: float(_exact(q))),),
        "add": (Function(two, QUANTITY, lambda a, b: _made(_exact(a) + _exact(b))),),
        "sub": (Function(two, QUANTITY, lambda a, b: _made(_exact(a) - _exact(b))),),
        "isLessThan": (Function(two, "bool", lambda a, b: _exact(a) < _exact(b)),),
        "isGreaterThan": (Function(two, "bool", lambda a, b: _exact(a) > _exact(b)),),
        "compareTo": (Function(two, "int", lambda a, b: (_exact(a) > _exact(b)) - (_exact(a) < _exact(b))),),
    }


def _quantity(text: str) -> dict[str, str]:
    return _made(quantities.parse(text))


def _made(value: Fraction) -> dict[str, str]:
    return {QUANTITY: str(value)}


def _exact(quantity: dict[str, str]) -> Fraction:
    return Fraction(quantity[QUANTITY])


def _integer(quantity: dict[str, str]) -> int:
    value = _exact(quantity)
    if value.denominator != 1:
        raise ValueError("cannot convert value to integer")
    return math.trunc(value)


# --- addresses -----------------------------------------------------------------------------------------------


def _addresses() -> dict[str, tuple[Function, ...]]:
    of_ip, of_net = (IP,), (CIDR,)
    return {
        "ip": (Function(("string",), IP, _ip, member=False), Function(of_net, IP, _first)),
        "isIP": (Function(("string",), "bool", _can(_ip), member=False),),
        "ip.isCanonical": (Function(("string",), "bool", lambda s: _ip(s)[IP] == s, member=False),),
        "family": (Function(of_ip, "int", lambda ip: _address(ip).version),),
        "isUnspecified": (Function(of_ip, "bool", lambda ip: _address(ip).is_unspecified),),
        "isLoopback": (Function(of_ip, "bool", lambda ip: _address(ip).is_loopback),),
        "isLinkLocalUnicast": (Function(of_ip, "bool", lambda ip: _address(ip).is_link_local),),
        "isLinkLocalMulticast": (Function(of_ip, "bool", _is_link_local_multicast),),
        "isGlobalUnicast": (Function(of_ip, "bool", _is_global_unicast),),
        "cidr": (Function(("string",), CIDR, _cidr, member=False),),
        "isCIDR": (Function(("string",), "bool", _can(_cidr), member=False),),
        "containsIP": (
            Function((CIDR, "string"), "bool", lambda net, ip: _address(_ip(ip)) in _network(net)),
        ),
        "containsCIDR": (
            Function((CIDR, "string"), "bool", lambda net, other: _contains(net, _cidr(other))),
        ),
        "prefixLength": (Function(of_net, "int", lambda net: _network(net).prefixlen),),
        "masked": (Function(of_net, CIDR, lambda net: {CIDR: str(_network(net))}),),
    }


def _ip(text: str) -> dict[str, str]:
    address = ipaddress.ip_address(text)
    if getattr(address, "ipv4_mapped", None) or getattr(address, "scope_id", None):
        raise ValueError("IPv4-mapped addresses and zones are not allowed")
    return {IP: str(address)}


def _address(ip: dict[str, str]) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(ip[IP])


def _is_link_local_multicast(ip: dict[str, str]) -> bool:
    address = _address(ip)
    scope = "224.0.0.0/24" if address.version == 4 else "ff02::/16"
    return address in ipaddress.ip_network(scope)


def _is_global_unicast(ip: dict[str, str]) -> bool:
    address = _address(ip)
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or str(address) == "255.255.255.255"
    )


def _cidr(text: str) -> dict[str, str]:
    if "/" not in text or not text.rpartition("/")[2].isdecimal():
        raise ValueError("not a network in CIDR notation")
    return {CIDR: str(ipaddress.ip_interface(text))}


def _network(net: dict[str, str]) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_interface(net[CIDR]).network


def _first(net: dict[str, str]) -> dict[str, str]:
    return {IP: str(ipaddress.ip_interface(net[CIDR]).ip)}


def _contains(net: dict[str, str], other: dict[str, str]) -> bool:
    outer, inner = _network(net), _network(other)
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


# --- URLs ----------------------------------------------------------------------------------------------------


def _urls() -> dict[str, tuple[Function, ...]]:
    one = (URL,)
    return {
        "url": (Function(("string",), URL, _url, member=False),),
        "isURL": (Function(("string",), "bool", _can(_url), member=False),),
        "getScheme": (Function(one, "string", lambda url: _split(url).scheme),),
        "getHost": (Function(one, "string", lambda url: _split(url).netloc.rpartition("@")[2]),),
        "getHostname": (Function(one, "string", lambda url: _split(url).hostname or ""),),
        "getPort": (Function(one, "string", lambda url: str(_split(url).port or "")),),
        "getEscapedPath": (Function(one, "string", lambda url: _split(url).path),),
        "getQuery": (
            Function(
                one,
                "map<string, list<string>>",
                lambda url: parse_qs(_split(url).query, keep_blank_values=True),
            ),
        ),
    }


def _url(text: str) -> dict[str, str]:
    parts = urlsplit(text)
    _ = parts.port  # raises for a port that is none
    if not (parts.scheme or text.startswith("/")):
        raise ValueError("not an absolute URL or a path")
    return {URL: text}


def _split(url: dict[str, str]) -> SplitResult:
    return urlsplit(url[URL])


def _can(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    """Whether `parse` takes a text."""

    def takes(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return takes
