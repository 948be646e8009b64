"""Which of the feasible clusters: spread constraints (Karmada 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

from towline.hub.decide.scheduling.request import (
    Candidate,
    Request,
    Selection,
    Unschedulable,
    constraints_of,
)


def select(request: Request, candidates: Sequence[Candidate]) -> Selection:
    """The clusters that the spread constraints leave. Raises Unschedulable."""
    if constraints_of(request):
        raise Unschedulable("spreadConstraints are not supported yet; remove them or use static weights")
    return Selection(candidates, {})
