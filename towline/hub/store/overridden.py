"""What override policies have to do with the Work table: whom a changed policy or Cluster concerns, and what was rendered.

Without override policies this costs a look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping

from towline.hub.decide import overrides
from towline.hub.decide.overrides import Candidates, Overrides
from towline.hub.decide.works import Variant
from towline.hub.store.cache import Cache, WatchEvent
from towline.kube import names
from towline.kube.objects import (
    Key,
    Object,
    annotations_of,
    generation_of,
    labels_of,
    namespace_of,
    revision_of,
    uid_of,
)

_NAMESPACES = ("", "namespaces")
_VARIANTS_KEPT = 64
"""Variants of one binding that may wait for clusters to look as they once did, beside one for each of its clusters."""


class Overridden:
    """The bindings and hub Namespaces (the owners of Works) that override policies change."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._candidates: dict[tuple[str, str, str], Candidates] = {}
        """By namespace, apiVersion and kind, until any policy changes."""
        self._looking: set[Key] = set()
        """Owners for which the labels or the spec of a Cluster can make a difference."""
        self._rendered: dict[Key, tuple[Hashable, dict[Hashable, Variant]]] = {}

    def of(self, owner: Key, template: Object) -> Overrides:
        """What changes `template`, the one of `owner`, on its way."""
        at = (namespace_of(template), str(template.get("apiVersion")), str(template.get("kind")))
        known = self._candidates.get(at)
        if known is None:
            known = self._candidates[at] = overrides.candidates(self._cache.snapshot, *at)
        found = overrides.matching(self._cache.snapshot, template, known)
        if found.looks_at_clusters:
            self._looking.add(owner)
        else:
            self._looking.discard(owner)
        return found

    def rendered(
        self, owner: Key, binding: Object, template: Object, found: Overrides
    ) -> dict[Hashable, Variant] | None:
        """What was rendered of the same binding, template and policies before: a report that is stored must not make hundreds of
        clusters pay for patches and expressions again. None where nothing is overridden."""
        if not found.rules:
            self._rendered.pop(owner, None)
            return None
        state = (*_content(template), generation_of(binding), str(labels_of(binding)), found.revisions)
        known, variants = self._rendered.get(owner, ((), {}))
        clusters = (binding.get("spec") or {}).get("clusters") or ()
        if known != state or len(variants) > len(clusters) + _VARIANTS_KEPT:
            variants = {}
            self._rendered[owner] = (state, variants)
        return variants

    def forget(self, owner: Key) -> None:
        self._looking.discard(owner)
        self._rendered.pop(owner, None)

    def by_policy(self, event: WatchEvent, bound: Mapping[Key, Key]) -> Iterator[Key]:
        """The owners that a change of an override policy concerns: those it selects, and those that it selected. `bound` are the
        bindings by their templates."""
        key, previous = event.entry.key, event.previous
        if key.group != names.POLICY_GROUP or key.resource not in (
            overrides.POLICIES,
            overrides.CLUSTER_POLICIES,
        ):
            return
        self._candidates.clear()
        if event.type == "MODIFIED" and previous is not None:
            if previous.meta.generation == event.entry.meta.generation:
                return
            yield from self._selected(previous.object, bound)
        yield from self._selected(event.entry.object, bound)

    def by_cluster(self, event: WatchEvent, held: Iterable[Key]) -> Iterator[Key]:
        """Of the owners that a Cluster holds something of, those for which its change makes a difference."""
        if self._looking and (
            event.previous is None or _look(event.previous.object) != _look(event.entry.object)
        ):
            yield from (owner for owner in held if owner in self._looking)

    def _selected(self, policy: Object, bound: Mapping[Key, Key]) -> Iterator[Key]:
        kinds = self._cache.snapshot.kinds
        selectors = (policy.get("spec") or {}).get("resourceSelectors") or ()
        wanted = {
            kind.resource
            for selector in selectors
            if (kind := kinds.named(str(selector.get("apiVersion")), str(selector.get("kind")))) is not None
        }
        namespace = namespace_of(policy)
        for template, owner in bound.items():
            if (not selectors or template[:2] in wanted) and namespace in ("", template.namespace):
                entry = self._cache.get(template)
                if entry is not None and overrides.selects(policy, entry.object):
                    yield owner
        if not namespace and (not selectors or _NAMESPACES in wanted):
            for entry in self._cache.list(*_NAMESPACES):
                if overrides.selects(policy, entry.object):
                    yield entry.key


def _content(template: Object) -> tuple[str | int, ...]:
    """Differs when what is sent of a template does: its status is written again and again."""
    generation = generation_of(template)
    marks = (str(labels_of(template)), str(annotations_of(template)))
    return (uid_of(template), generation, 0 if generation else revision_of(template), *marks)


def _look(cluster: Object) -> tuple[Mapping[str, str], Mapping[str, str], object]:
    """What override policies can see of a Cluster. (Its status comes with every heartbeat.)"""
    return labels_of(cluster), annotations_of(cluster), cluster.get("spec")
