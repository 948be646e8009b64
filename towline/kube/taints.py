"""Taints and tolerations, as Kubernetes compares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from towline.kube import names

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
REPELLING_EFFECTS = frozenset(("NoSchedule", "NoExecute"))
"""Effects that keep new work away. PreferNoSchedule is only a wish."""


class Taint(NamedTuple):
    """A taint of a node or a Cluster."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


Place = tuple[str, str]
"""A taint's key and effect: no object has two of the same."""


def taints_of(obj: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The taints of a node or a Cluster."""
    found: Sequence[Mapping[str, Any]] = (obj.get("spec") or {}).get("taints") or ()
    return found


def place_of(taint: Mapping[str, Any]) -> Place:
    return str(taint.get("key") or ""), str(taint.get("effect") or "")


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


# --- what a command line asks for ------------------------------------------------------------------------------


class TaintError(ValueError):
    """A change that cannot be meant, or made; the message is kubectl's."""


class TaintChanges(NamedTuple):
    """What the words of `kubectl taint` ask for. To remove a key with effect "" is to remove it with every effect."""

    add: tuple[Taint, ...]
    remove: tuple[tuple[str, str], ...]


def parse_changes(words: Iterable[str]) -> TaintChanges:
    """`key=value:Effect` and `key:Effect` add, `key:Effect-` and `key-` remove. Raises TaintError."""
    add: dict[tuple[str, str], Taint] = {}
    remove: dict[tuple[str, str], None] = {}
    for word in words:
        taint = _parsed(word.removesuffix("-"), word)
        place = (taint.key, taint.effect)
        if word.endswith("-"):
            remove[place] = None
        elif not taint.effect:
            raise TaintError(f"invalid taint spec: {word}")
        elif place in add:
            raise TaintError(f"duplicated taints with the same key and effect: {word}")
        else:
            add[place] = taint
    if not add and not remove:
        raise TaintError("at least one taint update is required")
    if both := [f"{key}:{effect}" for key, effect in remove if (key, effect) in add]:
        raise TaintError(
            f"can not both modify and remove the following taint(s) in the same command: {','.join(both)}"
        )
    return TaintChanges(tuple(add.values()), tuple(remove))


def changed(
    name: str, taints: Iterable[Mapping[str, Any]], changes: TaintChanges, *, overwrite: bool = False
) -> tuple[list[Mapping[str, Any]], str]:
    """The taints of the object that users call `name` after `changes`, and kubectl's word for it: tainted, untainted or modified.

    Raises TaintError for one that is there already, unless it is to be overwritten, and for one to remove that is not there."""
    present = {(str(taint.get("key")), str(taint.get("effect"))): taint for taint in taints}
    taken = [taint.key for taint in changes.add if (taint.key, taint.effect) in present]
    if taken and not overwrite:
        told = ",".join(taken)
        raise TaintError(f"{name} already has {told} taint(s) with same effect(s) and --overwrite is false")
    for key, effect in changes.remove:
        going = [place for place in present if place[0] == key and effect in ("", place[1])]
        if not going:
            raise TaintError(f'taint "{key}:{effect}" not found' if effect else f'taint "{key}" not found')
        for place in going:
            del present[place]
    for taint in changes.add:
        fields = {"key": taint.key, "value": taint.value, "effect": taint.effect}
        present[taint.key, taint.effect] = {field: value for field, value in fields.items() if value}
    if overwrite or (changes.add and changes.remove):
        return list(present.values()), "modified"
    return list(present.values()), "tainted" if changes.add else "untainted"


def _parsed(text: str, word: str) -> Taint:
    labelled, colon, effect = text.partition(":")
    if colon and effect not in EFFECTS:
        raise TaintError(
            f"invalid taint spec: {word}, invalid taint effect: {effect}, unsupported taint effect"
        )
    key, equals, value = labelled.partition("=")
    if equals and not colon:
        raise TaintError(f"invalid taint spec: {word}")
    for problem in (*names.validate_qualified_name(key), *names.validate_label_value(value)):
        raise TaintError(f"invalid taint spec: {word}, {problem}")
    return Taint(key, value, effect)
