"""Snapshot in, plan out: the types that every decision shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object
from towline.kube.wishes import Wish


class Snapshot(Protocol):
    """A read-only view of the hub's objects at one revision. What it returns is frozen: copy before changing."""

    @property
    def kinds(self) -> KindTable: ...

    @property
    def revision(self) -> int: ...

    def get(self, key: Key) -> Object | None:
        """The object at `key`, with its resourceVersion, or None."""

    def list(self, group: str, resource: str, namespace: str | None = None) -> Sequence[Object]:
        """All objects of a resource in key order; of one namespace when given."""

    def labelled(self, label: str, value: str) -> Sequence[Key]:
        """Keys of all objects of any kind that carry `label`=`value`, for the labels in INDEXED_LABELS."""

    def dependents(self, uid: str) -> Sequence[Key]:
        """Keys of all objects of any kind that name `uid` as an owner, but for UNCOLLECTED."""

    def selecting(self, template: Object) -> Sequence[Key]:
        """Keys of the propagation policies that have a selector for the template's kind and its name, or any name. What selectors
        say about labels, and cluster policies about namespaces, is not looked at."""


INDEXED_LABELS = (
    "propagationpolicy.karmada.io/permanent-id",
    "clusterpropagationpolicy.karmada.io/permanent-id",
    "resourcebinding.karmada.io/permanent-id",
    "clusterresourcebinding.karmada.io/permanent-id",
    "towline.io/failback",
)

UNCOLLECTED = (
    ("work.karmada.io", "resourcebindings"),
    ("work.karmada.io", "clusterresourcebindings"),
)
"""Garbage collection leaves bindings to propagation: a template keeps its finalizer for as long as it has one."""


@dataclass(frozen=True, slots=True)
class Put:
    """Create (`expected` 0) or replace the object at `key`, decided on revision `expected`.

    A created object without metadata.uid or creationTimestamp gets both from the shell."""

    key: Key
    object: Object
    expected: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the row at `key` (finalizers are the decision's business), decided on revision `expected`."""

    key: Key
    expected: int


@dataclass(frozen=True, slots=True)
class EventNote:
    """A Kubernetes Event to be recorded about `regarding` (an object, or a reference with apiVersion, kind,
    namespace, name, uid). `type` is Normal or Warning; reasons are those of Karmada (2.15 of its behaviour)."""

    regarding: Mapping[str, Any]
    type: str
    reason: str
    message: str

    def about(self, regarding: Mapping[str, Any]) -> EventNote:
        """The same, about another object."""
        return replace(self, regarding=regarding)


class Detail(Protocol):
    """A compact record of how something was decided. Its length is what it costs to keep, in numbers held."""

    def __len__(self) -> int: ...

    def data(self) -> Mapping[str, Any]:
        """All of it as JSON."""


class Ask(NamedTuple):
    """A fact that a decision lacks: how many more units of `wish` the nodes of `cluster` have room for, as its agent
    counts them."""

    cluster: str
    wish: Wish


@dataclass(frozen=True, slots=True)
class Plan:
    """What a decision wants. Writes are one commit; their order is such that stopping after any prefix is safe."""

    writes: tuple[Put | Delete, ...] = ()
    events: tuple[EventNote, ...] = ()
    requeue_after_seconds: float | None = None
    reasons: Mapping[str, Any] = field(default_factory=dict)
    """Why, as data: policy chosen, policies refused, clusters refused, arithmetic. Kept for `explain`."""
    error: str | None = None
    """A failure that a retry may heal (backoff); the writes and events above are still carried out."""
    waits: frozenset[str] = frozenset()
    """The key is at rest without what was wished: causes whose change can help (scheduling.request)."""
    details: tuple[Detail, ...] = ()
    """What `reasons` is too small for. Kept of the last decision only, as long as there is room."""
    asks: tuple[Ask, ...] = ()
    """Facts that the decision lacks: the loop gets them, or learns that there are none, and decides again."""


NOTHING = Plan()
