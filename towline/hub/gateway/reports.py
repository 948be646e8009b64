"""An agent's reports on Works, between the protocol and the hub's own values."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from towline.hub.decide.wire import ManifestStatus, Phase, WorkReport
from towline.proto import fleet_pb2 as fleet
from towline.proto.digest import report_hash


class ReadReport(NamedTuple):
    """A report, and the revision of the Work or Removal that it is about."""

    value: WorkReport
    revision: int


def read_report(report: fleet.Report) -> ReadReport:
    """A report as the hub's own value. Raises ValueError for what no agent of ours sends: the hub stores and serves what is in it."""
    name = report.name[:253]
    try:
        phase = Phase(report.phase)
    except ValueError:
        raise ValueError(f"the report on Work {name!r} has no phase that is known") from None
    for status in report.statuses:
        try:
            orjson.loads(status.status or b"null")
        except orjson.JSONDecodeError:
            raise ValueError(f"the status in the report on Work {name!r} is not JSON") from None
    statuses = tuple(
        ManifestStatus(s.ordinal, s.api_version, s.kind, s.resource, s.namespace, s.name, s.status, s.health)
        for s in report.statuses
    )
    hashed = report_hash(phase, report.message, [(status.health, status.status) for status in statuses])
    if report.hash != hashed:
        raise ValueError(f"the report on Work {name!r} has the wrong hash")
    value = WorkReport(
        report.name, report.uid, report.work_hash, phase, report.message, statuses, report.hash, report.drift
    )  # fmt: skip
    return ReadReport(value, report.revision)
