"""Two decisions about one template, compared in words: which clusters changed, which policy, which replicas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from towline.hub.decide.plan import Detail

DIFFERENCES_MAX = 20
"""How many are told; then only how many more there are."""


class Decided(NamedTuple):
    """What is compared: the policy, the outcome, the deciding affinity term, and what it said of each cluster."""

    policy: str
    outcome: str
    affinity: str
    clusters: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, reasons: Mapping[str, Any], details: Sequence[Detail]) -> Decided:
        policy = winner_of(reasons.get("policies") or ()) or ""
        outcome = str(reasons.get("outcome") or "")
        term = details[-1 if outcome == "Success" else 0].data() if details else {}
        return cls(policy, outcome, str(term.get("affinity") or ""), term.get("clusters") or {})


def winner_of(considered: Iterable[Mapping[str, Any]]) -> str | None:
    """The policy that governs a template, of the verdicts of `policies.match`."""
    return next((str(r["policy"]) for r in considered if r.get("verdict") in _WINNING), None)


_WINNING = ("chosen", "claimed", "preempts")


def differences(
    before: Decided, after: Decided, present: Mapping[str, int], then: Mapping[str, int]
) -> list[str]:
    """Sentences, the weightiest first; none when nothing changed that counts. `present` and `then` are targets. Room for more
    changes all the time: it counts where it changes one of these."""
    return _bounded(list(_all(before, after, present, then)))


def refused_anew(present: Mapping[str, int], details: Sequence[Detail]) -> list[str]:
    """Targets whose copy stays although a new one would be refused. `details` are of a decision that reckons with no copies."""
    found = []
    for name in sorted(present):
        rows = [detail.data().get("clusters", {}).get(name) for detail in details]
        if rows and all(row is not None and "filter" in row for row in rows):
            found.append(f"cluster {name} keeps its copy; a new one would be refused: {why(rows[0])}")
    return _bounded(found)


def why(row: Mapping[str, Any]) -> str:
    """A refusal, of one cluster: messages are made to be counted ("2 cluster(s) had …")."""
    return str(row.get("message") or "").removeprefix("cluster(s) ").removeprefix("cluster ")


def _bounded(found: list[str]) -> list[str]:
    more = len(found) - DIFFERENCES_MAX
    return found if more <= 0 else [*found[:DIFFERENCES_MAX], f"and {more} more"]


def _all(
    before: Decided, after: Decided, present: Mapping[str, int], then: Mapping[str, int]
) -> Iterator[str]:
    for what, was, now in (
        ("policy", before.policy, after.policy),
        ("outcome", before.outcome, after.outcome),
        ("affinity term", before.affinity, after.affinity),
    ):
        if was != now:
            yield f"{what}: {was or 'none'} -> {now or 'none'}"
    for name in sorted({*present, *then}):
        if present.get(name) != then.get(name):
            yield f"cluster {name}: {_copies(present, name)} -> {_copies(then, name)}"
    for name in sorted({*before.clusters, *after.clusters}):
        told = _cluster(before.clusters.get(name), after.clusters.get(name))
        if told:
            yield f"cluster {name} {told}"


def _copies(targets: Mapping[str, int], name: str) -> str:
    if name not in targets:
        return "no copy"
    return f"{targets[name]} replicas" if targets[name] else "a copy"


def _cluster(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    refused = after is not None and "message" in after
    if (before is None or after is None) and (before or after or {}).get("filter") == "ClusterAffinity":
        return ""  # it was never meant
    if after is None:
        return "left the fleet"
    if before is None:
        return f"joined; it is refused: {why(after)}" if refused else "joined; it can take it"
    if before.get("message") == after.get("message"):
        return ""
    if not refused:
        return f"can take it now (was refused: {why(before)})"
    return f"is refused now: {why(after)}"
