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
    """Shell patterns of namespaces, and of kinds as `Deployment.apps` or `deployments.apps` (`ConfigMap`, `configmaps`);
    empty: everything."""

    namespaces: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """The namespaces that are named and not described by a pattern."""
        return tuple(name for name in self.namespaces if not _WILD.intersection(name))

    @property
    def by_namespace(self) -> bool:
        """Whether the namespaces are named one by one, so that nothing has to be looked for in others."""
        return bool(self.namespaces) and self.named == self.namespaces

    def refusal(self, ref: Ref, plural: str, namespaced: bool) -> str:
        """Why `ref` may not be written, for people; empty: it may. `plural` is its kind's in the member, `namespaced` whether that lies
        in namespaces: whatever namespace a manifest names, an API server takes what lies in none without it.

        What lies in no namespace is judged by its kind, a Namespace by its name as well; where namespaces are named and kinds
        are not, nothing else outside of a namespace may be written."""
        group = ref.api_version.rpartition("/")[0]
        kind, plural = (f"{name}.{group}" if group else name for name in (ref.kind, plural))
        if self.kinds and not (_matches(kind, self.kinds) or _matches(plural, self.kinds)):
            return f"{shown(ref)}: this cluster's agent does not allow the kind {kind} (--allow-kind)"
        namespace = ref.namespace if namespaced else ref.name if kind == "Namespace" else ""
        if not self.namespaces or _matches(namespace, self.namespaces) or (not namespace and self.kinds):
            return ""
        if not namespace:
            return f"{shown(ref)}: this cluster's agent allows nothing outside of its namespaces (--allow-namespace)"
        return (
            f"{shown(ref)}: this cluster's agent does not allow the namespace {namespace} (--allow-namespace)"
        )


_WILD = frozenset("*?[")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


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
