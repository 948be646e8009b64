"""What the hub is told of each Work: the latest of each, and what is applied at most every 50 ms.

A report is made when it is told, from what the watches show by then. The desired table keeps it until the hub has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from towline.agent.desired import Desired, HeldWork, Persist
from towline.agent.watcher import Watcher
from towline.agent.works import Work
from towline.proto import fleet_pb2 as fleet

REPORT_INTERVAL_SECONDS = 0.05


class Reports:
    """Reports of `works`. `persist` keeps what the desired table hands back, and calls back when it is durable; `outbox` is called
    when there is something new to send."""

    def __init__(
        self,
        desired: Desired,
        works: Mapping[str, Work],
        persist: Callable[[Persist, Callable[[], None] | None], None],
        outbox: Callable[[], None],
    ) -> None:
        self._desired = desired
        self._works = works
        self._persist = persist
        self._outbox = outbox
        self._watcher: Watcher
        self._changed: dict[str, None] = {}
        self._flush_timer: asyncio.Handle | None = None
        self._stopped = True

    def begin(self, watcher: Watcher) -> None:
        """Tell from now on; `watcher` has the objects' states."""
        self._watcher = watcher
        self._stopped = False

    def stop(self) -> None:
        """Tell at once what is still to be told."""
        self._stopped = True
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush()

    def failed(self, row: HeldWork, applied: int, told: str) -> None:
        """`applied` of the manifests are."""
        if row.removing:
            message = f"Failed to remove all objects: {told}"
        else:
            message = f"Failed to apply all manifests ({applied}/{len(row.manifests)}): {told}"
        self._tell(
            fleet.Report(name=row.name, uid=row.uid, work_hash=row.hash, phase=fleet.FAILED, message=message)
        )

    def removed(self, row: HeldWork) -> None:
        self._changed.pop(row.name, None)
        self._tell(fleet.Report(name=row.name, uid=row.uid, phase=fleet.REMOVED))

    def soon(self, name: str) -> None:
        """The state of this Work's objects, or what is applied of it, is another."""
        self._changed[name] = None
        if self._flush_timer is not None or self._stopped:
            return
        # Always later, never at once: what an object's creation sets off in the member is mostly over by then, and the
        # objects that are still to be applied go before what is to be said of the first.
        loop = asyncio.get_running_loop()
        self._flush_timer = loop.call_later(REPORT_INTERVAL_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        names_, self._changed = list(self._changed), {}
        for name in names_:
            report = self._report(name)
            if report is not None:
                self._tell(report)

    def _report(self, name: str) -> fleet.Report | None:
        """The state of a Work that is applied; None while it is not, or not all of its objects have been seen."""
        row, work = self._desired.get(name), self._works.get(name)
        if row is None or work is None or row.removing or work.settled != row.hash:
            return None
        report = fleet.Report(name=name, uid=row.uid, work_hash=row.hash, phase=fleet.APPLIED)
        for ordinal, ref in enumerate(work.refs):
            record = work.shared.get(ref) or self._watcher.record(ref)
            if record is None:
                return None
            report.statuses.add(
                ordinal=ordinal,
                api_version=ref.api_version,
                kind=ref.kind,
                resource=work.plurals.get(ref, ""),
                namespace=ref.namespace,
                name=ref.name,
                status=record.status,
                health=record.health,
            )
        if work.notes:
            report.drift = "; ".join(work.notes)
            work.notes.clear()
        return report

    def _tell(self, report: fleet.Report) -> None:
        persist = self._desired.report(report)
        if persist is not None:
            self._persist(persist, partial(self._forgotten, persist) if persist.deleted else None)
        self._outbox()

    def _forgotten(self, persist: Persist) -> None:
        self._desired.durable(persist)
        self._outbox()
