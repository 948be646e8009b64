"""What scheduling is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One binding's wish."""

    placement: Mapping[str, Any]
    replicas: int
    workload: bool
    """Has replicas or replica requirements; everything else goes to every selected cluster with no replicas."""
    current: Mapping[str, int]
    """Replicas by present target."""
    uid: str
    """The template's; breaks ties."""
    observed_affinity: str = ""
    """The term of clusterAffinities that the present result came from."""
    evicting: frozenset[str] = frozenset()
    fresh: bool = False
    """Forget the present result (a reschedule was triggered)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`targets` by name, or None to leave the present ones. `reason` is the Scheduled condition's."""

    reason: str
    message: str
    targets: Mapping[str, int] | None
    affinity: str = ""
    reasons: Mapping[str, Any] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        return self.reason == SUCCESS


SUCCESS = "Success"
NO_CLUSTER_FIT = "NoClusterFit"
UNSCHEDULABLE = "Unschedulable"
SUCCESS_MESSAGE = "Binding has been scheduled successfully."
