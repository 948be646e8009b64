"""What a Cluster says to its agent about counting, and what the agent counted, between the protocol and the hub's own values."""

from __future__ import annotations

from collections.abc import Mapping

from towline.hub.decide.capacity import ClusterCapacity, Stuck
from towline.kube import names
from towline.kube.grades import grades_of
from towline.kube.objects import Object
from towline.proto import fleet_pb2 as fleet

_RESOURCES_MAX = 256
_GRADES_MAX = 256
_STUCK_MAX = 1_000
_INT64_MAX = 2**63 - 1


def settings_of(cluster: Object, unschedulable_seconds: int = 0) -> fleet.Settings:
    """`unschedulable_seconds`: how long pods may find no node before they are counted; 0: they are not."""
    return fleet.Settings(
        unschedulable_seconds=unschedulable_seconds,
        grades=[
            fleet.Grade(
                grade=min(grade.grade, _INT64_MAX),
                least={name: min(amount, _INT64_MAX) for name, amount in grade.least.items()},
            )
            for grade in grades_of(cluster)[:_GRADES_MAX]
        ],
    )


def read_capacity(frame: fleet.Capacity) -> ClusterCapacity:
    """Raises ValueError for what no agent of ours sends: the hub stores and serves what is in it."""
    if len(frame.graded) > _GRADES_MAX:
        raise ValueError(f"{len(frame.graded)} grades of nodes")
    if len(frame.stuck) > _STUCK_MAX:
        raise ValueError(f"{len(frame.stuck)} workloads that are stuck")
    return ClusterCapacity(
        nodes=frame.nodes,
        ready_nodes=frame.ready_nodes,
        allocatable=_amounts(frame.allocatable),
        allocating=_amounts(frame.allocating),
        allocated=_amounts(frame.allocated),
        graded=tuple((graded.grade, graded.nodes) for graded in frame.graded),
        openings=frame.openings,
        stuck=tuple(Stuck(row.namespace, row.name, row.pods, row.unschedulable) for row in frame.stuck),
    )


def _amounts(sent: Mapping[str, int]) -> dict[str, int]:
    if len(sent) > _RESOURCES_MAX:
        raise ValueError(f"amounts of {len(sent)} resources")
    for name, amount in sent.items():
        if amount < 0 or names.validate_qualified_name(name):
            raise ValueError(f"{amount} of the resource {name[:64]!r}")
    return dict(sent)
