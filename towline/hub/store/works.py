"""The Work table: what every cluster must hold, computed from the cache and kept in memory only.

A Work is a function of template, binding, override policies and cluster, so it is stored nowhere: a restart computes it again. The table
follows the cache, recomputes what a change touches and tells its subscribers; the gateway sends it, and `workview.WorkView`
shows it to the API. Works that users made themselves are stored rows and are sent beside the computed ones.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

from towline.hub.decide import bindings, works
from towline.hub.decide.namespaces import holds_contents, let_go_by, needed_clusters, spreads
from towline.hub.decide.overrides import NO_OVERRIDES
from towline.hub.decide.wire import Blocked, Phase, WireWork, WorkReport
from towline.hub.store.cache import Cache, WatchEvent
from towline.hub.store.leaving import CLUSTERS as CLUSTERS
from towline.hub.store.leaving import Leaving
from towline.hub.store.overridden import Overridden
from towline.hub.store.subscribers import subscribe
from towline.kube import names
from towline.kube.objects import Key, Object, finalizers_of, is_deleting, name_of, uid_of

log = logging.getLogger(__name__)

NamespaceSync = Literal["all", "needed"]
Subscriber = Callable[[str, Collection[str]], None]
ReportSubscriber = Callable[[Collection[Key]], None]
DriftSubscriber = Callable[[Key, str, str], None]
RecordSubscriber = Callable[["Iterable[tuple[str, str, Record | None, Record | None]]"], None]

WORKS = (names.WORK_GROUP, "works")
NAMESPACES = ("", "namespaces")

WORKS_A_TURN = 2_000
"""How many Works a change of an override policy computes anew before others on the event loop get their turn."""


class Record:
    """A Work and whose it is: `owner` is the key of its binding, its hub Namespace or its stored row."""

    __slots__ = ("owner", "revision", "work")

    def __init__(self, owner: Key, work: WireWork, revision: int) -> None:
        self.owner = owner
        self.work = work
        self.revision = revision
        """The table's own, which the API shows as the Work's resourceVersion."""


class WorkTable:
    """Works by cluster. All methods are synchronous and belong to the event loop's thread.

    `first_revision` is where the table's own revisions begin: above those of any earlier run (microseconds of the start).
    Create it before anything that subscribes to the cache and reads the table, then call `load` once the cache is synced.
    """

    def __init__(self, cache: Cache, *, first_revision: int, namespace_sync: NamespaceSync = "all") -> None:
        self.synced = False
        """True once all Works were computed from a loaded cache. Before that nothing may be concluded from absence."""
        self.cache = cache
        self.revision = first_revision
        self._sync = namespace_sync
        self._clusters: dict[str, dict[str, WireWork]] = {}
        self._records: dict[tuple[str, str], Record] = {}
        self._owned: dict[Key, dict[tuple[str, str], None]] = {}
        self._binding_of: dict[Key, Key] = {}
        """The binding of a template, for templates that have one."""
        self._leaving = Leaving(cache)
        self._overridden = Overridden(cache)
        self._due: dict[tuple[Key, str], None] = {}
        """(owner, cluster or "" for all): what override policies concern and is not computed yet."""
        self._goes_on = False
        self._reports: dict[tuple[str, str], WorkReport] = {}
        self._sticky: set[tuple[str, str]] = set()
        """(cluster, namespace): the member holds it, so it stays wanted there (namespace sync `needed`)."""
        self._let_go: set[tuple[str, str]] = set()
        """(cluster, uid of the hub Namespace): the member reported that it holds it no more."""
        self._refusals: dict[tuple[str, str], WorkReport] = {}
        """What agents say of namespaces that they could not apply."""
        self._changed: dict[tuple[str, str], Record | None] = {}
        """What this recomputation changed, and how it was before."""
        self._subscribers: dict[object, Subscriber] = {}
        self._report_subscribers: dict[object, ReportSubscriber] = {}
        self._drift_subscribers: dict[object, DriftSubscriber] = {}
        self._record_subscribers: dict[object, RecordSubscriber] = {}

    # --- reading ---------------------------------------------------------------------------------------------

    def works_of(self, cluster: str) -> Mapping[str, WireWork]:
        """The cluster's Works by name, removals included; a live view, empty for an unknown cluster."""
        return self._clusters.get(cluster) or {}

    def get(self, cluster: str, name: str) -> WireWork | None:
        """One Work, or None when the hub neither wants it nor waits for its removal."""
        return self.works_of(cluster).get(name)

    def record(self, cluster: str, name: str) -> Record | None:
        return self._records.get((cluster, name))

    def records(self) -> Iterator[tuple[str, str, Record]]:
        """(cluster, name, record) of every Work, in no order."""
        for (cluster, name), record in self._records.items():
            yield cluster, name, record

    def holders(self, owner: Key) -> set[str]:
        """The clusters that may hold a copy of what `owner` sends."""
        return {cluster for cluster, _ in self._owned.get(owner, ())}

    def let_go(self, key: Key) -> frozenset[str]:
        """The clusters that told this hub that they hold the Namespace at `key` no more."""
        uid = entry.meta.uid if (entry := self.cache.get(key)) is not None else ""
        return frozenset(cluster for cluster, of in self._let_go if of == uid)

    def reports_of(self, owner: Key) -> dict[str, WorkReport]:
        """The reports about an owner's Works that are not stored yet, by cluster."""
        return {
            cluster: self._reports[cluster, name]
            for cluster, name in self._owned.get(owner, ())
            if (cluster, name) in self._reports
        }

    def blocked(self, owner: Key) -> dict[str, Blocked]:
        """The clusters to which nothing new of an owner is sent, and why."""
        found = {
            cluster: self._records[cluster, name].work.blocked for cluster, name in self._owned.get(owner, ())
        }
        return {cluster: blocked for cluster, blocked in found.items() if blocked is not None}

    def pending_report(self, cluster: str, name: str) -> WorkReport | None:
        """The report on one Work that is not stored yet, or never is: of a namespace that could not be applied."""
        return self._reports.get((cluster, name)) or self._refusals.get((cluster, name))

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call `callback(cluster, names)` after each recomputation that changed these Works (also their report_hash);
        names that `get` no longer finds are gone. Answers the function that ends it."""
        return subscribe(self._subscribers, callback)

    def subscribe_reports(self, callback: ReportSubscriber) -> Callable[[], None]:
        """Call `callback(owners)` when reports came in that are to be stored, or what is blocked changed."""
        return subscribe(self._report_subscribers, callback)

    def subscribe_drifts(self, callback: DriftSubscriber) -> Callable[[], None]:
        """Call `callback(owner, cluster, what)` when an agent put back what somebody changed in its member."""
        return subscribe(self._drift_subscribers, callback)

    def subscribe_records(self, callback: RecordSubscriber) -> Callable[[], None]:
        """Call `callback` with (cluster, name, before, after) of each change, for the API's view."""
        return subscribe(self._record_subscribers, callback)

    # --- what agents say -------------------------------------------------------------------------------------

    def report(self, cluster: str, reports: Sequence[WorkReport]) -> None:
        """Take in what an agent says; the latest of each name is kept until it is stored. A report about a Work that the
        table does not know, or of another uid, is dropped; so is REMOVED for a Work that is wanted."""
        owners: dict[Key, None] = {}
        for report in reports:
            record = self._records.get((cluster, report.name))
            if record is None or record.work.uid != report.uid:
                continue
            if (report.phase == Phase.REMOVED) != record.work.removing:
                continue
            if report.drift:
                for tell in list(self._drift_subscribers.values()):
                    tell(record.owner, cluster, report.drift)
            if record.owner[:2] == NAMESPACES:
                self._namespace_reported(cluster, record, report)
            elif works.hash_when_stored(report) != record.work.report_hash or report.phase == Phase.REMOVED:
                self._reports[cluster, report.name] = report
            else:
                self._reports.pop((cluster, report.name), None)
                continue
            owners[record.owner] = None
        self._tell()
        if owners:
            for callback in list(self._report_subscribers.values()):
                callback(owners)

    def forget_reports(self, cluster: str) -> None:
        """Another hub hears its agent now: what is not stored yet may be old already, and is asked for there."""
        self._reports = {at: report for at, report in self._reports.items() if at[0] != cluster}

    def held(self, cluster: str, work_names: Iterable[str]) -> None:
        """The agent's inventory lists these. To be called before the gateway concludes that the hub does not know one:
        a namespace that a cluster holds stays wanted there while the hub has it."""
        if self._sync == "all":
            return
        unknown = {name for name in work_names if (cluster, name) not in self._records}
        if not unknown:
            return
        for entry in self.cache.list(*NAMESPACES):
            if names.work_name("", entry.key.name, "Namespace") in unknown:
                self._sticky.add((cluster, entry.key.name))
                self._spread(entry.object, {cluster})
        self._tell()

    # --- following the cache ---------------------------------------------------------------------------------

    def load(self) -> None:
        """Compute everything from the loaded cache and follow it from now on."""
        for resource in (bindings.BINDINGS, bindings.CLUSTER_BINDINGS):
            for entry in self.cache.list(names.WORK_GROUP, resource):
                self._guarded(self._binding, entry.key)
        for entry in self.cache.list(*WORKS):
            self._guarded(self._stored, entry.key)
        for entry in self.cache.list(*NAMESPACES):
            self._guarded(self._namespace, entry.key)
        self.cache.subscribe(self._follow)
        self.synced = True
        self._tell()

    def _follow(self, revision: int, events: Sequence[WatchEvent]) -> None:
        todo: dict[tuple[Callable[[Key], None], Key], None] = {}
        for event in events:
            key = event.entry.key
            if key in self._binding_of:
                todo[self._template, self._binding_of[key]] = None
            if bindings.is_binding(key):
                todo[self._binding, key] = None
                todo[self._contents, key] = None
            elif key[:2] == WORKS:
                todo[self._stored, key] = None
            elif key[:2] == NAMESPACES:
                todo[self._namespace, key] = None
            elif key[:2] == CLUSTERS:
                if self._leaving.changed(event):
                    todo[self._cluster, key] = None
                held = (self._records[key.name, name].owner for name in self.works_of(key.name))
                self._due |= {(o, key.name): None for o in self._overridden.by_cluster(event, held)}
            self._due |= {(o, ""): None for o in self._overridden.by_policy(event, self._binding_of)}
        for compute, key in todo:
            if compute != self._template or (self._binding, key) not in todo:
                self._guarded(compute, key)
        self._tell()
        if self._due and not self._goes_on:
            self._override()

    def _override(self) -> None:
        """Compute what override policies concern: all of it at once if it is little, or over some turns of the event loop."""
        self._goes_on, left = False, WORKS_A_TURN
        while self._due and left > 0:
            owner, cluster = next(iter(self._due))
            del self._due[owner, cluster]
            self._guarded(partial(self._overridden_in, cluster), owner)
            left -= 1 if cluster else max(1, len(self._owned.get(owner, ())))
        self._tell()
        if self._due:
            self._goes_on = True
            asyncio.get_running_loop().call_soon(self._override)

    def _guarded(self, compute: Callable[[Key], None], key: Key) -> None:
        """One object that cannot be rendered must not keep all others from being sent."""
        try:
            compute(key)
        except Exception:
            log.exception("cannot compute the Works of %s at revision %d", key, self.cache.revision)

    def _template(self, key: Key) -> None:
        """A binding's template changed. When a decision about to come changes the replicas too, wait for that."""
        snapshot = self.cache.snapshot
        binding = snapshot.get(key)
        if binding is None:
            return
        at = bindings.template_key(snapshot.kinds, binding)
        template = snapshot.get(at) if at else None
        if template is not None and self._owned.get(key) and works.awaits_decision(binding, template):
            return
        self._binding(key)

    def _overridden_in(self, cluster: str, key: Key) -> None:
        """What one cluster, or every one (""), gets of an owner that override policies concern."""
        if key[:2] == WORKS:
            self._stored(key)
        elif key[:2] != NAMESPACES:
            self._binding(key, cluster)
        elif not cluster:
            self._namespace(key)
        elif (entry := self.cache.get(key)) is not None:
            self._spread(entry.object, {cluster})

    def _binding(self, key: Key, only: str = "") -> None:
        """Everything of a binding, or what one cluster gets of it."""
        snapshot = self.cache.snapshot
        binding = snapshot.get(key)
        if binding is None:
            self._overridden.forget(key)
            self._replace(key, {})
            return
        at = bindings.template_key(snapshot.kinds, binding)
        template = snapshot.get(at) if at else None
        if at is not None:
            self._binding_of[at] = key
        owner = bindings.controller_of(binding)
        if template is not None and owner is not None and owner.get("uid") != uid_of(template):
            template = None
        overrides, variants = NO_OVERRIDES, None
        if template is not None:
            overrides = self._overridden.of(key, template)
            variants = self._overridden.rendered(key, binding, template, overrides)
        revision = self.cache.revision
        rendered = works.of_binding(key, binding, template, revision, overrides, variants, only)
        rendered = {cluster: self._or_kept(key, cluster, work) for cluster, work in rendered.items()}
        if template is None:
            # Never conclude a removal from a template that cannot be read: what is wanted stays as it is.
            for cluster in bindings.desired(binding).keys() - rendered.keys():
                kept = self._of_owner(key, cluster)
                if kept is not None:
                    rendered[cluster] = kept
        if not only:
            self._replace(key, rendered)
        elif only in rendered:
            self._put(only, rendered[only].name, key, rendered[only])

    def _or_kept(self, owner: Key, cluster: str, work: WireWork) -> WireWork:
        """`work`, or what the cluster was to hold so far while overrides block `work`."""
        known = self._of_owner(owner, cluster) if work.blocked is not None else None
        if known is None or known.removing or known.uid != work.uid:
            return work
        return dataclasses.replace(
            known, blocked=work.blocked, suspended=work.suspended, report_hash=work.report_hash
        )

    def _stored(self, key: Key) -> None:
        stored = self.cache.snapshot.get(key)
        cluster = names.cluster_of_execution_namespace(key.namespace)
        if cluster is None:
            return
        if stored is None or names.EXECUTION_FINALIZER not in finalizers_of(stored):
            self._replace(key, {})  # without its finalizer it could go without the member being told
            return
        self._replace(key, {cluster: works.of_stored(stored, self.cache.revision)})

    def _namespace(self, key: Key) -> None:
        namespace = self.cache.snapshot.get(key)
        if namespace is None:
            self._overridden.forget(key)
            self._replace(key, {})
            return
        clusters = {entry.key.name for entry in self.cache.list(*CLUSTERS)}
        if not is_deleting(namespace) and self._sync == "needed":
            clusters = {name for name in clusters if self._leaving.is_leaving(name)}
            clusters |= needed_clusters(self.cache.snapshot, key.name)
            clusters |= {cluster for cluster, name in self._sticky if name == key.name}
        self._spread(namespace, sorted(clusters | self.holders(key)))

    def _contents(self, binding_key: Key) -> None:
        """A binding changed: its clusters may need its namespace now, and a namespace being deleted may go after it."""
        key = Key("", "namespaces", "", binding_key.namespace)
        entry = self.cache.get(key)
        if entry is None:
            return
        if entry.meta.deletionTimestamp is not None:
            self._namespace(key)
        elif self._sync == "needed" and (binding := self.cache.snapshot.get(binding_key)) is not None:
            needed = {*bindings.desired(binding), *bindings.observed(binding)} - self.holders(key)
            if needed:
                self._spread(entry.object, sorted(needed))

    def _cluster(self, key: Key) -> None:
        """A cluster joined, is leaving or left, or is to leave otherwise than before."""
        self._due |= {
            (self._records[key.name, name].owner, key.name): None for name in self.works_of(key.name)
        }
        for entry in self.cache.list(*NAMESPACES):
            if (
                self._sync == "all"
                or (key.name, entry.key.name) in self._sticky
                or key.name in self.holders(entry.key)
            ):
                self._spread(entry.object, {key.name})

    def _spread(self, namespace: Object, clusters: Iterable[str]) -> None:
        """A hub Namespace in `clusters`: wanted, or on its way out because the hub's own or the cluster ends."""
        key, uid = Key("", "namespaces", "", name_of(namespace)), uid_of(namespace)
        ending = is_deleting(namespace) and not holds_contents(self.cache.snapshot, key.name)
        overrides = self._overridden.of(key, namespace)
        render = works.namespace_renderer(namespace, self.cache.revision, overrides)
        noted = let_go_by(namespace) if ending else frozenset[str]()
        allowed, name = spreads(namespace), names.work_name("", key.name, "Namespace")
        for cluster in clusters:
            known = self._of_owner(key, cluster)
            member = self._leaving.is_member(cluster)
            leaving = not member or self._leaving.is_leaving(cluster)
            if not ending and not leaving:
                if allowed or known is not None:  # one that must not spread any more stays where it is
                    self._let_go.discard((cluster, uid))
                    self._put(cluster, name, key, self._or_kept(key, cluster, render(cluster, known)))
            elif (
                not member
                or cluster in noted
                or not (allowed or known is not None)
                or (cluster, uid) in self._let_go
            ):
                self._put(cluster, name, key, None)
            elif known is None or not known.removing:
                # Who held it before a restart is not known, so all are told. An exit only lets go of namespaces: what else
                # lives in them is not the hub's to delete.
                gone = works.namespace_removal(namespace, cluster, self.cache.revision, preserve=not ending)
                self._put(cluster, name, key, gone)

    def _namespace_reported(self, cluster: str, record: Record, report: WorkReport) -> None:
        """A namespace's reports are not stored: losing them costs one question after a restart."""
        if report.phase == Phase.REMOVED:
            namespace = self.cache.snapshot.get(record.owner)
            if namespace is not None:
                self._let_go.add((cluster, uid_of(namespace)))
            self._sticky.discard((cluster, record.owner.name))
            self._put(cluster, record.work.name, record.owner, None)
            return
        digest, at = works.hash_when_stored(report), (cluster, record.work.name)
        if digest != record.work.report_hash:
            self._refusals.pop(at, None)
            if report.phase == Phase.FAILED:
                self._refusals[at] = report
            self._put(*at, record.owner, dataclasses.replace(record.work, report_hash=digest))

    # --- keeping ---------------------------------------------------------------------------------------------

    def _of_owner(self, owner: Key, cluster: str) -> WireWork | None:
        for held_by, name in self._owned.get(owner, ()):
            if held_by == cluster:
                return self._records[cluster, name].work
        return None

    def _replace(self, owner: Key, rendered: Mapping[str, WireWork]) -> None:
        """`rendered` by cluster is all that `owner` has from now on."""
        for cluster, name in list(self._owned.get(owner, ())):
            if cluster not in rendered or rendered[cluster].name != name:
                self._put(cluster, name, owner, None)
        for cluster, work in rendered.items():
            self._put(cluster, work.name, owner, work)

    def _put(self, cluster: str, name: str, owner: Key, work: WireWork | None) -> None:
        if work is not None and work.removing:
            work = self._leaving.parting(cluster, work)
        at = (cluster, name)
        before = self._records.get(at)
        if before is not None and before.owner != owner:
            if work is not None:
                log.warning(
                    "Work %s of %s is %s's already; %s cannot have it", name, cluster, before.owner, owner
                )
            return
        if (before is None and work is None) or (
            before is not None and work is not None and owner[:2] != WORKS and before.work.is_same(work)
        ):
            return  # (of a stored Work any change shows in the API)
        self._changed.setdefault(at, before)
        self.revision += 1
        if work is None:
            del self._records[at]
            del self._clusters[cluster][name]
            self._owned[owner].pop(at, None)
            self._reports.pop(at, None)
            self._refusals.pop(at, None)
        else:
            self._records[at] = Record(owner, work, self.revision)
            self._clusters.setdefault(cluster, {})[name] = work
            self._owned.setdefault(owner, {})[at] = None
            self._settle_report(at, before, work)
        if not self._owned.get(owner):
            self._owned.pop(owner, None)

    def _settle_report(self, at: tuple[str, str], before: Record | None, work: WireWork) -> None:
        """Forget a report that is stored now, or that is about what the Work no longer is."""
        report = self._reports.get(at)
        if report is None:
            return
        stored = works.hash_when_stored(report) == work.report_hash
        turned = (report.phase == Phase.REMOVED) != work.removing
        if stored or turned or report.uid != work.uid:
            del self._reports[at]

    def _tell(self) -> None:
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        clusters: dict[str, dict[str, None]] = {}
        blocked: dict[Key, None] = {}
        for (cluster, name), before in changed.items():
            clusters.setdefault(cluster, {})[name] = None
            after = self._records.get((cluster, name))
            if after is not None and after.work.blocked != (before.work.blocked if before else None):
                blocked[after.owner] = None
        for show in list(self._record_subscribers.values()):
            show([(*at, before, self._records.get(at)) for at, before in changed.items()])
        for callback in list(self._subscribers.values()):
            for cluster, work_names in clusters.items():
                callback(cluster, work_names)
        if blocked:
            for told in list(self._report_subscribers.values()):
                told(blocked)
