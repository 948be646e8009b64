"""Which objects the garbage collector is to look at when something changed: what owns something, and what is owned."""

from __future__ import annotations

from collections.abc import Iterator

from towline.hub.decide import garbage
from towline.hub.decide.plan import UNCOLLECTED
from towline.hub.store.cache import Cache, Entry, WatchEvent
from towline.kube import deletion
from towline.kube.objects import Key

DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")


def everything(cache: Cache) -> Iterator[Key]:
    yield from dict.fromkeys(cache.owned())
    for group, resource in sorted(cache.counts()):
        yield from (e.key for e in cache.list(group, resource) if _awaits_collector(e))


def concerned(cache: Cache, event: WatchEvent) -> Iterator[Key]:
    entry, previous = event.entry, event.previous
    awaits = _awaits_collector(entry)
    if event.type != "DELETED" and (awaits or (entry.meta.ownerReferences and not _uncollected(entry))):
        yield entry.key
    if event.type == "DELETED" or awaits:
        yield from cache.dependents(entry.meta.uid)
    if previous is not None and previous.meta.uid != entry.meta.uid:
        yield from cache.dependents(previous.meta.uid)
    if not _uncollected(entry):
        yield from _leaving_owners(cache, entry)
        if previous is not None and previous.meta.ownerReferences != entry.meta.ownerReferences:
            yield from _leaving_owners(cache, previous)
    if entry.key[:2] == DEFINITIONS and event.type != "DELETED":
        yield from dict.fromkeys(cache.owned())  # an owner's kind may be known now


def _awaits_collector(entry: Entry) -> bool:
    """Whether it is deleted with a policy that garbage collection has to carry out."""
    waits = entry.meta.finalizers if entry.meta.deletionTimestamp else None
    return waits is not None and (deletion.FOREGROUND in waits or deletion.ORPHAN in waits)


def _uncollected(entry: Entry) -> bool:
    return entry.key[:2] in UNCOLLECTED


def _leaving_owners(cache: Cache, dependent: Entry) -> Iterator[Key]:
    for reference in dependent.meta.ownerReferences or ():
        named = {"apiVersion": reference.apiVersion, "kind": reference.kind, "name": reference.name}
        at = garbage.owner_key(cache.snapshot, dependent.key, named)
        owner = None if at is None else cache.get(at)
        if owner is not None and owner.meta.deletionTimestamp:
            yield owner.key
