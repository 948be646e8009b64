"""Taints and tolerations, as Kubernetes compares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

REPELLING_EFFECTS = frozenset(("NoSchedule", "NoExecute"))
"""Effects that keep new work away. PreferNoSchedule is only a wish."""


class Taint(NamedTuple):
    """A taint of a node or a Cluster."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


def repelling(taints: Iterable[Mapping[str, Any]] | None) -> tuple[Taint, ...]:
    """The taints that keep new work away, of a spec's `taints`."""
    return tuple(
        Taint(str(taint.get("key") or ""), str(taint.get("value") or ""), str(taint["effect"]))
        for taint in taints or ()
        if taint.get("effect") in REPELLING_EFFECTS
    )


def tolerates(tolerations: Iterable[Mapping[str, Any]] | None, taint: Taint) -> bool:
    """Whether any of `tolerations` tolerates `taint`.

    An empty key (with Exists) means every key, an empty effect every effect. Lt and Gt compare the taint's value with the
    toleration's as 64-bit integers; what is no such number is not tolerated."""
    return any(_tolerates(toleration, taint) for toleration in tolerations or ())


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.effect:
        return False
    operator = toleration.get("operator") or "Equal"
    if (toleration.get("key") or operator != "Exists") and toleration.get("key") != taint.key:
        return False
    wanted = str(toleration.get("value") or "")
    match operator:
        case "Exists":
            return True
        case "Equal":
            return wanted == taint.value
        case "Lt" | "Gt":
            held, limit = integer(taint.value), integer(wanted)
            if held is None or limit is None:
                return False
            return held < limit if operator == "Lt" else held > limit
        case _:
            return False


def integer(text: str) -> int | None:
    """A decimal 64-bit integer as Kubernetes writes one: no sign but a minus, no leading zeros."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (digits[0] == "0" and text != "0"):
        return None
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 63 else None
