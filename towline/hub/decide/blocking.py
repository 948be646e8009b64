"""A policy that cannot take effect says so: in a condition on the binding, and in events on the template and the policy.

The condition `PolicyBlocked` exists only while something is missing. A template without a binding has nothing that could hold a
condition: there the events are all.
"""

from __future__ import annotations

from towline.hub.decide.conditions import condition, with_obstacle
from towline.hub.decide.plan import EventNote
from towline.hub.decide.policies import Claim, Match, claim_by
from towline.kube.objects import Object

BLOCKED = "PolicyBlocked"


def with_block(binding: Object, matched: Match, now: float) -> Object:
    """`binding` with the condition that `matched` asks for, or without one; the same object when that is so already."""
    return with_obstacle(binding, BLOCKED, None if matched.block is None else _condition(matched), now)


def notes(template: Object, binding: Object | None, matched: Match) -> list[EventNote]:
    """What is to be told about a block that `binding` does not say yet."""
    if matched.block is None or matched.policy is None:
        return []
    if binding is not None and _says(condition(binding.get("status"), BLOCKED)) == _condition(matched):
        return []
    waiting, message = matched.block.policy, matched.block.message
    if waiting is matched.policy:
        return failed(template, waiting, message)
    text = (
        f"{_long(claim_by(waiting))} failed to preempt {_long(claim_by(matched.policy)).lower()}: {message}"
    )
    return [EventNote(regarding, "Warning", "PreemptPolicyFailed", text) for regarding in (template, waiting)]


def failed(template: Object, policy: Object, message: str) -> list[EventNote]:
    """The events of a policy that could not be applied to `template`."""
    text = f"Apply {claim_by(policy)} failed: {message}"
    return [EventNote(regarding, "Warning", "ApplyPolicyFailed", text) for regarding in (template, policy)]


def preempted(template: Object, by: Claim, owner: Claim) -> EventNote:
    text = f"{_long(by)} preempted {_long(owner).lower()} successfully"
    return EventNote(template, "Normal", "PreemptPolicySucceed", text)


def _condition(matched: Match) -> tuple[str, str]:
    """Reason and message."""
    assert matched.block is not None and matched.policy is not None
    reason, message, waiting = matched.block.reason, matched.block.message, claim_by(matched.block.policy)
    if matched.block.policy is matched.policy:
        return reason, f"changes of {waiting} and of the template do not take effect: {message}"
    return reason, f"{waiting} cannot preempt {claim_by(matched.policy)}: {message}"


def _says(entry: object) -> tuple[str, str] | None:
    return (str(entry.get("reason")), str(entry.get("message"))) if isinstance(entry, dict) else None


def _long(claim: Claim) -> str:
    """As Karmada's events about preemption name a policy, at the beginning of a sentence."""
    if claim.namespace:
        return f"Propagation policy({claim.namespace}/{claim.name})"
    return f"Cluster propagation policy({claim.name})"
