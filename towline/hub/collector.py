"""Counters that parts of a hub keep as plain numbers, read when somebody asks for its metrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from towline.hub.audit import AuditLog
from towline.hub.controllers.loop import Loop
from towline.hub.controllers.recorder import Recorder
from towline.hub.controllers.world import World
from towline.hub.leases import Tenure


class Collector:
    """To be registered with the API's registry."""

    def __init__(
        self, world: World, controllers: Loop, recorder: Recorder, audit: AuditLog, leading: Tenure
    ) -> None:
        self._cache = world.cache
        self._turns = world.turns
        self._leading = leading
        self._controllers = controllers
        self._recorder = recorder
        self._audit = audit

    def collect(self) -> Iterable[Metric]:
        commits = CounterMetricFamily(
            "towline_store_commits", "Commits to the store, by who made them.", labels=["writer"]
        )
        others = self._recorder.commits
        commits.add_metric(["events"], self._recorder.commits)
        for controller, count in self._controllers.commits.items():
            commits.add_metric([controller], count)
            others += count
        commits.add_metric(["api"], self._cache.commits - others)
        yield commits
        yield GaugeMetricFamily("towline_leads", "Whether this hub leads.", value=self._leading.held)
        yield CounterMetricFamily("towline_decisions", "Decisions made.", value=self._controllers.decisions)
        lost = CounterMetricFamily("apiserver_audit_error", "Audit lines that were lost.", labels=["plugin"])
        lost.add_metric(["log"], self._audit.lost)
        yield lost
        yield GaugeMetricFamily(
            "towline_queue_length", "Keys that wait for a decision.", value=len(self._controllers.queue)
        )
        pending = GaugeMetricFamily(
            "scheduler_pending_bindings", "Templates to be placed, by what they wait for.", labels=["queue"]
        )
        for queue, count in self._controllers.pending().items():
            pending.add_metric([queue], count)
        yield pending
        yield GaugeMetricFamily(
            "eviction_queue_depth", "Bindings that wait for their turn to be evicted.", value=len(self._turns)
        )
        objects = GaugeMetricFamily("towline_objects", "Stored objects.", labels=["group", "resource"])
        for (group, resource), count in self._cache.counts().items():
            objects.add_metric([group, resource], count)
        yield objects
