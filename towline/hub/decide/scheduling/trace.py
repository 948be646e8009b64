"""How one affinity term was tried, kept small: the data behind `towline explain`."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.hub.decide.scheduling.members import Members
from towline.hub.decide.scheduling.request import Candidate


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One term's trial. Clusters are bits of masks over `names` (which all traces of one fleet share)."""

    names: tuple[str, ...]
    affinity: str
    terminating: int
    refusals: tuple[tuple[str, str, int], ...]
    """Filter, message, the clusters that it refused first."""
    feasible: int
    points: Mapping[str, int]
    """Scores above 0 by cluster."""
    room: array[int] | None
    """Replicas that each feasible cluster could take besides those it has, in order; None when nobody asked."""
    sources: tuple[str, ...]
    source_of: array[int]
    """Where those numbers come from: for each an index into `sources`."""
    current: Mapping[str, int]
    selection: Mapping[str, Any]
    division: Mapping[str, Any]
    error: str = ""
    """Why the term failed after its filters."""

    def __len__(self) -> int:
        return 20 + len(self.room or ()) + len(self.points) + len(self.current)

    def data(self) -> dict[str, Any]:
        """All of it as JSON: `clusters` says of each the filter that refused it, or its score and room."""
        clusters: dict[str, Any] = {
            name: {"filter": "Terminating", "message": "cluster is being removed"}
            for name in _named(self.names, self.terminating)
        }
        for refused_by, message, mask in self.refusals:
            for name in _named(self.names, mask):
                clusters[name] = {"filter": refused_by, "message": message}
        for at, name in enumerate(_named(self.names, self.feasible)):
            clusters[name] = self._feasible(name, at)
        described: dict[str, Any] = {"affinity": self.affinity} if self.affinity else {}
        described["clusters"] = {name: clusters[name] for name in self.names if name in clusters}
        if self.selection:
            described["selection"] = self.selection
        if self.division:
            described["division"] = self.division
        if self.error:
            described["error"] = self.error
        return described

    def _feasible(self, name: str, at: int) -> dict[str, Any]:
        row: dict[str, Any] = {"score": self.points.get(name, 0)}
        if name in self.current:
            row["replicas"] = self.current[name]
        if self.room is not None:
            row["available"] = self.room[at]
            row["availableFrom"] = self.sources[self.source_of[at]]
        return row


def traced(
    members: Members,
    affinity: str,
    refusals: Sequence[tuple[str, str, int]],
    feasible: int,
    candidates: Sequence[Candidate],
    sources: Sequence[str] | None,
    selection: Mapping[str, Any] | None = None,
    division: Mapping[str, Any] | None = None,
    error: str = "",
) -> Trace:
    """`candidates` in the order of names; `sources` says of each where its room is known from: None when nobody asked."""
    known = {source: at for at, source in enumerate(dict.fromkeys(sources or ()))}
    return Trace(
        names=members.names,
        affinity=affinity,
        terminating=members.terminating,
        refusals=tuple(refusals),
        feasible=feasible,
        points={candidate.name: candidate.score for candidate in candidates if candidate.score},
        room=None if sources is None else array("i", [candidate.allocatable for candidate in candidates]),
        sources=tuple(known),
        source_of=array("H", map(known.__getitem__, sources or ())),
        current={candidate.name: candidate.current for candidate in candidates if candidate.current},
        selection=selection or {},
        division=division or {},
        error=error,
    )


def _named(names: tuple[str, ...], mask: int) -> Iterator[str]:
    while mask:
        lowest = mask & -mask
        yield names[lowest.bit_length() - 1]
        mask ^= lowest
