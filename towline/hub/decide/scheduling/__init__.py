"""Scheduling: a function from a binding's wish and the fleet to its targets, with every reason as data.

Steps, for one affinity term after the other until one succeeds: filter, score, estimate room, select, divide. Filters
(`filters.FILTERS`) and scores (`scores.SCORES`) are tables; a new rule is a function and a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from towline.hub.decide.scheduling.affinity import Term, terms_of
from towline.hub.decide.scheduling.estimates import NO_ANSWER, missing, replicas_in
from towline.hub.decide.scheduling.filters import FILTERS
from towline.hub.decide.scheduling.members import Member, Members
from towline.hub.decide.scheduling.request import (
    ASKING,
    CAPACITY,
    CLUSTER,
    DYNAMIC,
    LABEL,
    NO_CLUSTER_FIT,
    SUCCESS,
    SUCCESS_MESSAGE,
    UNLIMITED,
    UNSCHEDULABLE,
    Candidate,
    Outcome,
    Request,
    Unschedulable,
    constraints_of,
    strategy_of,
)
from towline.hub.decide.scheduling.scores import scores
from towline.hub.decide.scheduling.selection import select
from towline.hub.decide.scheduling.strategies import assign
from towline.hub.decide.scheduling.trace import traced
from towline.hub.decide.scheduling.view import View
from towline.kube.wishes import Wish, of_components, of_replicas

__all__ = ["NO_CLUSTER_FIT", "SUCCESS", "UNSCHEDULABLE", "Outcome", "Request", "View", "schedule"]

Refused = tuple[str, str, int]
"""Filter, message, and the mask of the clusters that it refused first."""


def schedule(request: Request, view: View) -> Outcome:
    """The targets for `request`.

    Ordered terms: the observed one first, then those after it, never back (unless `fresh`); when all fail, the first
    one's failure counts. No fitting cluster empties the targets; an unschedulable wish leaves them (Karmada 3.0, 3.5).
    """
    terms = terms_of(request.placement, workload=request.workload)
    tried: list[Outcome] = []
    for term in terms[_first(request, terms) :]:
        outcome = _try_term(request, term, view)
        if outcome.asks:
            return outcome
        tried.append(outcome)
        if outcome.success:
            break
    chosen = tried[-1] if tried[-1].success else tried[0]
    if len(tried) == 1:
        return chosen
    waits = frozenset[str]() if chosen.success else frozenset().union(*(outcome.waits for outcome in tried))
    traces = [trace for outcome in tried for trace in outcome.traces]
    return replace(chosen, waits=waits, traces=traces)


def _first(request: Request, terms: Sequence[Term]) -> int:
    if request.fresh or not request.observed_affinity:
        return 0
    names = [term.name for term in terms]
    return names.index(request.observed_affinity) if request.observed_affinity in names else 0


def _try_term(request: Request, term: Term, view: View) -> Outcome:
    members = view.members
    refusals, waits = _filtered(request, term, view)
    out = members.terminating
    for _, _, mask in refusals:
        out |= mask
    feasible = members.everyone & ~out
    if not feasible:
        trace = traced(members, term.name, refusals, 0, (), None)
        message = _no_fit_message(members, refusals)
        return Outcome(NO_CLUSTER_FIT, message, {}, term.name, waits | {CLUSTER}, (trace,))
    wish = _wish(request) if needs_room(request) else None
    if wish is not None and asks_agents(request):
        asks = missing(wish, (member.name for member in members.within(feasible)), view.answers)
        if asks:
            return Outcome(ASKING, f"{len(asks)} agents are asked what they have room for", None, asks=asks)
    candidates, sources = _candidates(request, term, view, feasible, wish)
    selection, division, error = None, None, ""
    try:
        selection = select(request, candidates)
        division = assign(request, selection.chosen, members)
    except Unschedulable as refusal:
        error = str(refusal)
    trace = traced(
        members,
        term.name,
        refusals,
        feasible,
        candidates,
        sources,
        selection.reasons if selection else None,
        division.reasons if division else None,
        error,
    )
    if division is None:
        # Labels and fields too: who stands in which region may be what is lacking.
        helped = waits | {CLUSTER, CAPACITY, LABEL}
        return Outcome(UNSCHEDULABLE, error, None, term.name, helped, (trace,))
    return Outcome(
        SUCCESS,
        SUCCESS_MESSAGE,
        division.targets,
        term.name,
        traces=(trace,),
        components=division.components,
    )


def _filtered(request: Request, term: Term, view: View) -> tuple[list[Refused], frozenset[str]]:
    """What each filter refuses of what is left, and the causes that could change it."""
    left = view.members.everyone & ~view.members.terminating
    refused: list[Refused] = []
    waits: set[str] = set()
    for row in FILTERS:
        for message, mask in row.refuse(request, term, view):
            mask &= left
            if mask:
                left ^= mask
                refused.append((row.name, message, mask))
                waits.add(row.helped_by)
    return refused, frozenset(waits)


def _candidates(
    request: Request, term: Term, view: View, feasible: int, wish: Wish | None
) -> tuple[list[Candidate], list[str] | None]:
    """The feasible clusters by name; and where the number of each one's room comes from, if it was needed."""
    members, current, points = view.members, request.current, scores(request, view)
    tier_of = _tiers(term, members, feasible)
    found: list[Candidate] = []
    if wish is None:
        for member in members.within(feasible):
            name = member.name
            row = (name, points.get(name, 0), UNLIMITED, current.get(name, 0), tier_of.get(name, 0), member)
            found.append(_candidate(Candidate, row))
        return found, None
    sources: list[str] = []
    closed = {**dict.fromkeys(request.full, DESCHEDULED), **request.barred}
    promises = view.assigned.promises
    said = view.answers.said(wish.key) if asks_agents(request) else {}
    showing = view.assigned.showing if said else ()
    for member in members.within(feasible):
        name = member.name
        promised = promises.get(name, _NOTHING)
        unseen = view.assigned.unseen(name, view.answers.when(wish.key, name)) if name in showing else None
        room, source = replicas_in(member.room, wish, promised, said.get(name, NO_ANSWER), unseen)
        if name in closed:
            room, source = 0, closed[name]
        sources.append(source)
        row = (name, points.get(name, 0), room, current.get(name, 0), tier_of.get(name, 0), member)
        found.append(_candidate(Candidate, row))
    return found, sources


_NOTHING: Mapping[str, int] = {}
DESCHEDULED = "replicas were taken from it"
_candidate: Callable[[type[Candidate], tuple[str, int, int, int, int, Member]], Candidate] = tuple.__new__
"""What a Candidate costs counts: there is one for every cluster in every decision."""


def _wish(request: Request) -> Wish:
    if request.components:
        return of_components(request.components, request.namespace)
    return of_replicas(request.requirements, request.namespace)


def needs_room(request: Request) -> bool:
    """Whether anything depends on how much room there is: dynamic division, and a choice among clusters (Karmada 3.4)."""
    if not request.workload:
        return False
    return strategy_of(request.placement) in DYNAMIC or bool(constraints_of(request))


def asks_agents(request: Request) -> bool:
    """Whether so much depends on the room that agents are asked: replicas are divided by it, or a cluster has to hold whole
    sets. Duplicated and static weights never do."""
    return needs_room(request) and (strategy_of(request.placement) in DYNAMIC or bool(request.components))


def _tiers(term: Term, members: Members, feasible: int) -> dict[str, int]:
    """The overflow affinity that brought a cluster in; clusters of the affinity itself are left out."""
    tiers: dict[str, int] = {}
    left = feasible
    for at, affinity in enumerate(term.tiers):
        here = left & members.meant_by(affinity)
        if at:
            tiers.update((member.name, at) for member in members.within(here))
        left &= ~here
        if not left:
            break
    return tiers


def _no_fit_message(members: Members, refusals: Sequence[Refused]) -> str:
    total = len(members)
    if not total:
        return "0/0 clusters are available: no cluster has joined."
    counts: dict[str, int] = {}
    for _, message, mask in refusals:
        counts[message] = counts.get(message, 0) + mask.bit_count()
    counted = [f"{count} {message}" for message, count in sorted(counts.items())]
    if members.terminating:
        counted.append(f"{members.terminating.bit_count()} cluster(s) are being removed")
    return f"0/{total} clusters are available: {', '.join(counted)}."
