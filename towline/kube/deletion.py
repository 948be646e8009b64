"""What a deletion asks for: what becomes of dependents, said with finalizers, and what may not be deleted at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from towline.kube import names
from towline.kube.objects import Object, with_metadata

FOREGROUND = "foregroundDeletion"
"""The object stays until the dependents that block its deletion are gone."""
ORPHAN = "orphan"
"""The object stays until no dependent names it as an owner any more."""

Cascade = Literal["Background", "Foreground", "Orphan", ""]
"""A propagationPolicy; empty where nobody said one."""
POLICIES: tuple[Cascade, ...] = ("Foreground", "Background", "Orphan")

PROTECTED = f"This resource is protected, please make sure to remove the label: {names.DELETION_PROTECTED}"


def is_protected(labels: Mapping[str, str] | None) -> bool:
    """Whether Karmada's label denies every deletion of an object with these labels."""
    return labels is not None and labels.get(names.DELETION_PROTECTED) == "Always"


def finalizers(default: Cascade, present: Sequence[str], asked: Cascade) -> list[str]:
    """The finalizers of an object once it is deleted with policy `asked`: without one, those of the collector that it
    has decide, and then the kind's `default` (empty: nothing of the kind is ever collected). Order is kept."""
    if not default:
        cascade: Cascade = "Background"
    elif asked:
        cascade = asked
    elif ORPHAN in present:
        cascade = "Orphan"
    elif FOREGROUND in present:
        cascade = "Foreground"
    else:
        cascade = default
    wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(cascade)
    kept = [name for name in present if name not in (ORPHAN, FOREGROUND) or name == wanted]
    return kept if wanted is None or wanted in kept else [*kept, wanted]


def marked(obj: Object, now: str, kept: Sequence[str], *, counted: bool, namespace: bool = False) -> Object:
    """`obj` as it waits for the finalizers `kept`, since `now` (RFC 3339) unless it waits already. `counted`: its kind
    has generations, and this is one."""
    metadata = obj["metadata"]
    held = with_metadata(obj, finalizers=list(kept) or None)
    if metadata.get("deletionTimestamp"):
        return held
    held = with_metadata(held, deletionTimestamp=now)
    if namespace:
        return {**held, "status": {**(obj.get("status") or {}), "phase": "Terminating"}}
    held = with_metadata(held, deletionGracePeriodSeconds=0)
    if counted:
        held = with_metadata(held, generation=int(metadata.get("generation") or 0) + 1)
    return held
