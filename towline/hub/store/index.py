"""Indexes over all objects of the cache, whatever their kind: by a few labels, by owner; and of policies by what they select."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from towline.hub.decide.policies import Selection, selections, selections_for
from towline.kube.objects import Key, Meta, Object


class LabelIndex:
    """Keys by the value of a few labels, over all resources."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._keys: dict[tuple[str, str], set[Key]] = {}

    def find(self, label: str, value: str) -> Sequence[Key]:
        if label not in self._labels:
            raise KeyError(f"the label {label} is not indexed")
        return sorted(self._keys.get((label, value), ()))

    def replace(self, key: Key, old: dict[str, str] | None, new: dict[str, str] | None) -> None:
        if not old and not new:
            return
        for label in self._labels:
            before = old.get(label) if old else None
            after = new.get(label) if new else None
            if before == after:
                continue
            if before is not None:
                keys = self._keys[label, before]
                keys.discard(key)
                if not keys:
                    del self._keys[label, before]
            if after is not None:
                self._keys.setdefault((label, after), set()).add(key)


class OwnerIndex:
    """Keys by the uids of their owners. Holds only what has owners, and nothing of the resources in `apart`."""

    def __init__(self, apart: Collection[tuple[str, str]] = ()) -> None:
        self._apart = frozenset(apart)
        self._keys: dict[str, set[Key]] = {}

    def find(self, uid: str) -> Sequence[Key]:
        return sorted(self._keys.get(uid, ()))

    def all(self) -> Iterator[Key]:
        """Every key once for each of its owners."""
        for keys in self._keys.values():
            yield from keys

    def replace(self, key: Key, old: Meta | None, new: Meta | None) -> None:
        before = old.ownerReferences if old is not None else None
        after = new.ownerReferences if new is not None else None
        if (not before and not after) or before == after or key[:2] in self._apart:
            return
        for owner in before or ():
            keys = self._keys.get(owner.uid)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._keys[owner.uid]
        for owner in after or ():
            self._keys.setdefault(owner.uid, set()).add(key)


class SelectionIndex:
    """Propagation policies by what they select: a template must not be held against every policy of its namespace."""

    def __init__(self) -> None:
        self._keys: dict[Selection, set[Key]] = {}

    def find(self, template: Object) -> Sequence[Key]:
        return sorted({key for at in selections_for(template) for key in self._keys.get(at, ())})

    def replace(self, key: Key, old: Object | None, new: Object | None) -> None:
        before = selections(old) if old is not None else set()
        after = selections(new) if new is not None else set()
        for at in before - after:
            keys = self._keys[at]
            keys.discard(key)
            if not keys:
                del self._keys[at]
        for at in after - before:
            self._keys.setdefault(at, set()).add(key)
