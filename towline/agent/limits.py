"""What the member's owner lets a hub do: the agent refuses the rest, whoever asks (DESIGN 7).

Pure; time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from towline.agent.desired import Ref
from towline.agent.execution import shown


@dataclass(frozen=True, slots=True)
class Allowance:
    """Shell patterns of namespaces and of kinds (`Deployment.apps`, `ConfigMap`); empty: everything."""

    namespaces: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def refusal(self, ref: Ref) -> str:
        """Why `ref` may not be written, for people; empty: it may.

        Cluster-scoped objects are judged by their kind alone, a Namespace by its name as well."""
        group = ref.api_version.rpartition("/")[0]
        kind = f"{ref.kind}.{group}" if group else ref.kind
        if self.kinds and not any(fnmatchcase(kind, pattern) for pattern in self.kinds):
            return f"{shown(ref)}: this cluster's agent does not allow the kind {kind} (--allow-kinds)"
        namespace = ref.name if kind == "Namespace" else ref.namespace
        if self.namespaces and namespace and not any(fnmatchcase(namespace, p) for p in self.namespaces):
            return f"{shown(ref)}: this cluster's agent does not allow the namespace {namespace} (--allow-namespaces)"
        return ""


class DeletionBudget:
    """At most `per_minute` deletions a minute, all of them at once if need be (a token bucket). 0: no limit."""

    def __init__(self, per_minute: int, now: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._now = now
        self._left = float(per_minute)
        self._at = now()

    def take(self) -> float:
        """0.0 when one deletion may go ahead now, else the seconds until one may."""
        if not self._per_minute:
            return 0.0
        now = self._now()
        self._left = min(self._per_minute, self._left + (now - self._at) * self._per_minute / 60)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) * 60 / self._per_minute
