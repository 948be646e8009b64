"""The Work table: what every cluster must hold, computed from the cache and kept in memory only.

A Work is a function of template, binding and cluster, so it is stored nowhere: a restart computes it again. The table
follows the cache, recomputes what a change touches and tells its subscribers; the API reads it as a Source, the gateway
sends it. Works that users made themselves are stored rows and are shown and sent beside the computed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from towline.hub.decide.wire import Conflict, ManifestStatus, ObjectRef, Phase, WireWork, WorkReport
from towline.kube.objects import Key

__all__ = ["Conflict", "ManifestStatus", "ObjectRef", "Phase", "WireWork", "WorkReport", "WorkTable"]

Subscriber = Callable[[str, set[str]], None]


class WorkTable:
    """Works by cluster. All methods are synchronous and belong to the event loop's thread."""

    synced: bool
    """True once all Works were computed from a loaded cache. Before that nothing may be concluded from absence."""

    def works_of(self, cluster: str) -> Mapping[str, WireWork]:
        """The cluster's Works by name, removals included; a live view, empty for an unknown cluster."""
        raise NotImplementedError

    def get(self, cluster: str, name: str) -> WireWork | None:
        """One Work, or None when the hub neither wants it nor waits for its removal."""
        raise NotImplementedError

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call `callback(cluster, names)` after each recomputation that changed these Works (also their report_hash);
        names that `get` no longer finds are gone. Answers the function that ends it."""
        raise NotImplementedError

    def report(self, cluster: str, reports: Sequence[WorkReport]) -> None:
        """Take in what an agent says; the latest of each name is kept until it is stored. A report about a Work that the
        table does not know, or of another uid, is dropped; so is REMOVED for a Work that is wanted."""
        raise NotImplementedError

    def held(self, cluster: str, names: Iterable[str]) -> None:
        """The agent's inventory lists `names`. To be called before the gateway concludes that the hub does not know one:
        namespaces that a cluster holds stay wanted there while the hub has them."""
        raise NotImplementedError

    def reports_of(self, binding: Key) -> Mapping[str, WorkReport]:
        """Reports not stored yet about a binding's (or a stored Work's) Works, by cluster."""
        raise NotImplementedError
