"""All that scheduling reads besides the wish itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from towline.hub.decide import bindings
from towline.hub.decide.plan import Snapshot
from towline.hub.decide.scheduling.assigned import Assigned
from towline.hub.decide.scheduling.estimates import NOBODY, Answers
from towline.hub.decide.scheduling.members import Members
from towline.kube import names
from towline.kube.objects import Key, name_of, namespace_of


@dataclass(frozen=True, slots=True)
class View:
    """The clusters, what is promised to them, and what their agents said of their room."""

    members: Members
    assigned: Assigned = field(default_factory=Assigned)
    answers: Answers = NOBODY

    @classmethod
    def of(cls, snapshot: Snapshot, now: float) -> View:
        """The whole view, made from scratch. A hub keeps one up to date instead (hub/store/view.py)."""
        found = (
            (Key(names.WORK_GROUP, resource, namespace_of(binding), name_of(binding)), binding)
            for resource in (bindings.BINDINGS, bindings.CLUSTER_BINDINGS)
            for binding in snapshot.list(names.WORK_GROUP, resource)
        )
        return cls(Members.of(snapshot.list(names.CLUSTER_GROUP, "clusters")), Assigned.of(found, now))

    def as_heard(self) -> View:
        """The same for who asks no agent: what they said so far is all there is."""
        return replace(self, answers=_Heard(self.answers))


@dataclass(frozen=True, slots=True)
class _Heard:
    """Answers of which no more come."""

    _answers: Answers

    @property
    def able(self) -> Collection[str]:
        return ()

    def said(self, key: str) -> Mapping[str, int]:
        return self._answers.said(key)

    def when(self, key: str, cluster: str) -> float:
        return self._answers.when(key, cluster)
