"""What the audit log says of one request: who, what, the decision, the answer. Never bodies, secrets in headers, or a query's values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from towline.hub.api.paths import Attributes
from towline.hub.api.user import User

TEXT_MAX = 256
"""Characters of a path or a user agent that are kept."""


@dataclass(slots=True)
class Asked:
    """One request as it goes on its way. `started` is a monotonic time. `carried`: a write runs to its end by itself, and notes
    itself then. `asker` is who authenticated, `user` whom they act as."""

    audit_id: str
    source: str
    agent: str
    started: float
    at: Attributes
    asker: User | None = None
    user: User | None = None
    allowed: bool | None = None
    reason: str = ""
    dry_run: bool = False
    carried: bool = False
    annotations: dict[str, str] = field(default_factory=dict)
    """What admission webhooks say of it."""

    def line(self, code: int, now: float, stage: str) -> dict[str, Any]:
        """The audit line of an answer with `code` at the monotonic time `now`."""
        at, asker, user = self.at, self.asker, self.user
        event: dict[str, Any] = {
            "audit_id": self.audit_id,
            "stage": stage,
            "user": asker.name if asker is not None else "",
            "groups": list(asker.groups) if asker is not None else [],
            "source": self.source,
            "user_agent": self.agent,
            "verb": at.verb,
            "path": at.path[:TEXT_MAX],
            "group": at.group,
            "version": at.version,
            "resource": at.resource,
            "subresource": at.subresource,
            "namespace": at.namespace,
            "name": at.name,
            "dry_run": self.dry_run,
            "code": code,
            "latency_seconds": now - self.started,
        }
        if user is not None and user is not asker:
            event |= {"impersonated_user": user.name, "impersonated_groups": list(user.groups)}
        if self.allowed is not None:
            event |= {"decision": "allow" if self.allowed else "forbid", "reason": self.reason}
        if self.annotations:
            event["annotations"] = self.annotations
        return event
