"""Scheduling: a function from a binding's wish and the clusters to its targets, with every reason as data.

Steps: term by term of the affinities, filter, score, select, divide. Filters (`filters.FILTERS`), scores (`scores.SCORES`) and
strategies (`strategies.STRATEGIES`) are tables; a new rule is a function and a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from towline.hub.decide.scheduling.affinity import Term, terms_of
from towline.hub.decide.scheduling.filters import FILTERS
from towline.hub.decide.scheduling.request import (
    NO_CLUSTER_FIT,
    SUCCESS,
    SUCCESS_MESSAGE,
    UNSCHEDULABLE,
    Outcome,
    Request,
)
from towline.hub.decide.scheduling.scores import score
from towline.hub.decide.scheduling.strategies import assign, unsupported
from towline.kube.objects import Object, is_deleting, name_of

__all__ = ["NO_CLUSTER_FIT", "SUCCESS", "UNSCHEDULABLE", "Outcome", "Request", "schedule"]


def schedule(request: Request, clusters: Sequence[Object]) -> Outcome:
    """The targets for `request` among `clusters`.

    Ordered terms: the observed one first, then those after it, never back (unless `fresh`); when all fail, the first
    one's failure counts. No fitting cluster empties the targets; an unschedulable wish leaves them (Karmada 3.0, 3.5).
    """
    terms = terms_of(request.placement)
    names = [term.name for term in terms]
    start = (
        names.index(request.observed_affinity)
        if request.observed_affinity in names and not request.fresh
        else 0
    )
    failures: list[Outcome] = []
    for term in terms[start:]:
        outcome = _try_term(request, term, clusters)
        if outcome.success:
            return outcome
        failures.append(outcome)
    return failures[0]


def _try_term(request: Request, term: Term, clusters: Sequence[Object]) -> Outcome:
    verdicts: dict[str, dict[str, Any]] = {}
    refused: Counter[str] = Counter()
    feasible: list[Object] = []
    for cluster in clusters:
        name = name_of(cluster)
        if is_deleting(cluster):
            verdicts[name] = {"filter": "Terminating", "message": "cluster is being removed"}
            continue
        verdict = _filter(request, term, cluster)
        if verdict is None:
            feasible.append(cluster)
            verdicts[name] = {"score": score(request, cluster)}
        else:
            refused[verdict["message"]] += 1
            verdicts[name] = verdict
    reasons: dict[str, Any] = {"clusters": verdicts}
    if term.name:
        reasons["affinity"] = term.name
    if not feasible:
        return Outcome(NO_CLUSTER_FIT, _no_fit_message(clusters, refused), {}, term.name, reasons)
    if missing := unsupported(request):
        return Outcome(UNSCHEDULABLE, missing, None, term.name, reasons)
    targets, arithmetic = assign(request, feasible)
    return Outcome(SUCCESS, SUCCESS_MESSAGE, targets, term.name, {**reasons, "division": arithmetic})


def _filter(request: Request, term: Term, cluster: Object) -> dict[str, Any] | None:
    for name, allows in FILTERS:
        message = allows(request, term, cluster)
        if message is not None:
            return {"filter": name, "message": message}
    return None


def _no_fit_message(clusters: Sequence[Object], refused: Counter[str]) -> str:
    total = len(clusters)
    if not total:
        return "0/0 clusters are available: no cluster has joined."
    counted = [f"{count} {message}" for message, count in sorted(refused.items())]
    if terminating := total - sum(refused.values()):
        counted.append(f"{terminating} cluster(s) are being removed")
    return f"0/{total} clusters are available: {', '.join(counted)}."
