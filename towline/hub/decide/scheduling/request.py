"""What scheduling is asked, what it works on and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from towline.hub.decide.plan import Ask
from towline.hub.decide.scheduling.members import Member
from towline.kube.objects import Key
from towline.kube.packing import UNLIMITED as UNLIMITED  # room where nothing limits it, or nobody asked


@dataclass(frozen=True, slots=True)
class Request:
    """One binding's wish."""

    placement: Mapping[str, Any]
    replicas: int
    workload: bool
    """Has replicas, replica requirements or components; everything else goes to every selected cluster with no replicas."""
    current: Mapping[str, int]
    """Replicas by present target."""
    uid: str
    """The template's; breaks ties."""
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    requirements: Mapping[str, Any] | None = None
    """What one replica needs: the binding's replicaRequirements."""
    components: tuple[Mapping[str, Any], ...] = ()
    """Of a workload with several pod templates: name, replicas, replicaRequirements of each. Never a single one
    (bindings.demand)."""
    observed_affinity: str = ""
    """The term of clusterAffinities that the present result came from."""
    evicting: frozenset[str] = frozenset()
    full: frozenset[str] = frozenset()
    """Clusters that just showed to have no room for more, whatever is estimated (descheduling)."""
    barred: Mapping[str, str] = field(default_factory=dict)
    """Clusters that can take nothing over (eviction), and why ("is lost itself"): there it keeps what it has and gets no more."""
    fails_over: bool = False
    """Taints evict it: it comes only to clusters where it may stay."""
    fresh: bool = False
    """Forget the present result (a reschedule was triggered)."""
    affinity_group: str = ""
    anti_affinity_group: str = ""
    """`key=value`: bindings of the namespace with the same share clusters, or avoid each other's."""
    binding: Key | None = None


class Candidate(NamedTuple):
    """A cluster that passed all filters of the affinity term under trial."""

    name: str
    score: int
    allocatable: int
    """Room for more replicas, as estimated; UNLIMITED where nothing limits it."""
    current: int
    """Replicas that it has now."""
    tier: int
    """0: meant by the affinity itself; k: by its k-th overflow affinity only."""
    member: Member

    @property
    def available(self) -> int:
        """How many replicas it could hold, those that it has included."""
        return min(self.allocatable + self.current, UNLIMITED)


class Unschedulable(Exception):
    """The wish cannot be met now. The message is the condition's: numbers, and what is needed."""


class Selection(NamedTuple):
    """The clusters that spread constraints leave, and how they were chosen (as data, small)."""

    chosen: Sequence[Candidate]
    reasons: Mapping[str, Any]


class Assignment(NamedTuple):
    """What each target gets."""

    targets: Mapping[str, int]
    """Replicas by cluster, sorted by name."""
    reasons: Mapping[str, Any]
    """The arithmetic that led there, step by step (as data, small)."""
    components: Sequence[Mapping[str, Any]] = ()
    """Name and replicas of each component, which every target gets; empty unless there are several."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`targets` by name, or None to leave the present ones. `reason` is the Scheduled condition's."""

    reason: str
    message: str
    targets: Mapping[str, int] | None
    affinity: str = ""
    waits: frozenset[str] = frozenset()
    """What could help a wish that failed: see filters.FILTERS and CAPACITY."""
    traces: Sequence[Any] = field(default=(), compare=False)
    """How each term that was tried went: trace.Trace."""
    components: Sequence[Mapping[str, Any]] = ()
    """What each target gets of a workload with several components: see Assignment."""
    asks: tuple[Ask, ...] = ()
    """Nothing is decided: this would have to be known first."""

    @property
    def success(self) -> bool:
        return self.reason == SUCCESS


SUCCESS = "Success"
NO_CLUSTER_FIT = "NoClusterFit"
UNSCHEDULABLE = "Unschedulable"
ASKING = "Asking"
"""Never in a condition: agents are asked first."""
SUCCESS_MESSAGE = "Binding has been scheduled successfully."

CAPACITY, LABEL, TAINT, API, CLUSTER, EVICTION, GROUP = (
    "capacity",
    "label",
    "taint",
    "api",
    "cluster",
    "eviction",
    "group",
)
"""Causes that a failed wish can wait for: room, a label or field, a taint that goes, an API that comes, a cluster that joins, an
eviction that ends, a workload of the same (anti-)affinity group that moves."""


def strategy_of(placement: Mapping[str, Any]) -> str:
    """Duplicated, StaticWeight, DynamicWeight or Aggregated (Karmada 1.2: no replicaScheduling means Duplicated)."""
    scheduling = placement.get("replicaScheduling")
    if not scheduling or (scheduling.get("replicaSchedulingType") or "Divided") == "Duplicated":
        return "Duplicated"
    if scheduling.get("replicaDivisionPreference") == "Aggregated":
        return "Aggregated"
    preference = scheduling.get("weightPreference") or {}
    return "DynamicWeight" if preference.get("dynamicWeight") else "StaticWeight"


DYNAMIC = ("DynamicWeight", "Aggregated")
"""Strategies that go by the clusters' room."""


def constraints_of(request: Request) -> Sequence[Mapping[str, Any]]:
    """The spread constraints that count: static weights ignore them (Karmada 3.4)."""
    if strategy_of(request.placement) == "StaticWeight":
        return ()
    found: Sequence[Mapping[str, Any]] = request.placement.get("spreadConstraints") or ()
    return found
