"""The fleet as its sessions show it: who is connected, who was heard when, what the agents say of their clusters.

Volatile: after a restart every agent says it all again. The gateway writes it, decisions on health read it. Of a cluster whose
session another hub holds it knows only that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.decide.health import DEFAULT_LIMITS, ClusterFacts, Contact, HealthLimits

__all__ = ["ClusterCapacity", "ClusterFacts", "Contact", "Fleet"]

Subscriber = Callable[[str], None]


class Fleet:
    """Contacts by cluster. `started` is when this hub began to listen, in epoch seconds."""

    def __init__(self, started: float, limits: HealthLimits = DEFAULT_LIMITS) -> None:
        self.started = started
        self.limits = limits
        self._contacts: dict[str, Contact] = {}
        self._elsewhere: set[str] = set()
        self.silent_elsewhere: Callable[[], Collection[str]] = tuple
        """What other hubs that live say of theirs, as `silent` answers here."""
        self._subscribers: dict[object, Subscriber] = {}

    def contact(self, cluster: str) -> Contact | None:
        """What is known of a cluster since this hub started; None for one that never connected."""
        return self._contacts.get(cluster)

    @property
    def settled_at(self) -> float:
        """When agents have had the time to come back to this hub, in epoch seconds."""
        return self.started + self.limits.monitor_grace_seconds

    def last_heard(self, cluster: str) -> float:
        """When it may have been heard last, as far as this hub can tell: one that was here before it heard until this one began. Infinite
        while its session is at another hub."""
        if cluster in self._elsewhere:
            return float("inf")
        contact = self._contacts.get(cluster)
        return self.started if contact is None else max(self.started, contact.heard)

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call `callback(cluster)` when more than the time of the last message changed."""
        ticket = object()
        self._subscribers[ticket] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(ticket, None)

        return unsubscribe

    def audible(self, now: float) -> frozenset[str]:
        """The clusters that are connected, here or at another hub, and were heard of late: of any other nobody knows yet whether it is
        there."""
        heard_here = (
            name
            for name, contact in self._contacts.items()
            if contact.connected and not self._is_silent(contact, now)
        )
        return frozenset((*self._elsewhere.difference(self.silent_elsewhere()), *heard_here))

    def answering(self, now: float) -> frozenset[str]:
        """Those of which nobody says that their API server does not answer, although the condition Ready may take a while to turn."""
        return frozenset(
            name
            for name in self.audible(now)
            if name in self._elsewhere
            or (facts := self._contacts[name].facts) is None
            or facts.api_server_ready
        )

    def silent(self, now: float) -> list[str]:
        """The clusters whose session lasts here, and that were not heard of late."""
        return sorted(
            name
            for name, contact in self._contacts.items()
            if contact.connected and self._is_silent(contact, now)
        )

    def whose(self, cluster: str) -> bool | None:
        """Whether this hub decides on what only sessions show of a cluster: True while it holds the session, False while another
        hub does, None when nobody does: then whoever leads."""
        if cluster in self._elsewhere:
            return False  # also where a session that is dead has not ended yet
        contact = self._contacts.get(cluster)
        return True if contact is not None and contact.connected else None

    def at_another_hub(self, cluster: str, there: bool, now: float) -> None:
        """Another hub that lives holds the cluster's session, or (`there` False) not any more: until now it was heard there."""
        if (cluster in self._elsewhere) == there:
            return
        contact = self._contacts.get(cluster)
        if there:
            self._elsewhere.add(cluster)
        else:
            self._elsewhere.discard(cluster)
        if contact is None or not contact.connected:
            # What was said here before is old by now.
            contact = Contact(connected=False, since=now, heard=now)
        self._set(cluster, contact, True)

    def connected(self, cluster: str, now: float) -> None:
        """A session began."""
        contact, _ = self._met(cluster, now)
        self._set(cluster, replace(contact, connected=True, since=now), True)

    def heard(self, cluster: str, now: float, *, api_server_ready: bool | None = None) -> None:
        """A message came; a heartbeat also says whether the member's API server is ready."""
        contact, changed = self._met(cluster, now)
        facts = contact.facts
        if facts is not None and api_server_ready is not None and facts.api_server_ready != api_server_ready:
            facts = replace(
                facts, api_server_ready=api_server_ready, api_server_message="", api_server_unreachable=False
            )
            contact, changed = replace(contact, facts=facts, said_since=now), True
        self._set(cluster, contact, changed)

    def facts(self, cluster: str, facts: ClusterFacts, now: float) -> None:
        """The agent described its cluster."""
        contact, changed = self._met(cluster, now)
        before = contact.facts
        if before is None or before.api_server_ready != facts.api_server_ready:
            contact = replace(contact, said_since=now)
        self._set(cluster, replace(contact, facts=facts), changed or facts != before)

    def capacity(self, cluster: str, capacity: ClusterCapacity, now: float) -> None:
        """The agent counted what its cluster has and what is taken of it."""
        contact, changed = self._met(cluster, now)
        self._set(cluster, replace(contact, capacity=capacity), changed or capacity != contact.capacity)

    def disconnected(self, cluster: str, now: float) -> None:
        """The session ended; what was said before stays known."""
        contact = self._contacts.get(cluster)
        if contact is not None and contact.connected:
            self._set(cluster, replace(contact, connected=False, since=now), True)

    def deletions_held(self, cluster: str, count: int, reason: str) -> None:
        """The delete breaker keeps `count` Works in the member; 0 when none (any more)."""
        contact = self._contacts.get(cluster)
        if contact is not None:
            held = replace(contact, deletions_held=(count, reason if count else ""))
            self._set(cluster, held, held != contact)

    def forget(self, cluster: str) -> None:
        """The cluster is no member any more."""
        self._contacts.pop(cluster, None)
        self._elsewhere.discard(cluster)

    def away(self, now: float) -> None:
        """This hub could neither hear nor write until now: its own absence counts against nobody."""
        self.started = now
        self._contacts = {name: replace(contact, heard=now) for name, contact in self._contacts.items()}

    def _is_silent(self, contact: Contact, now: float) -> bool:
        return now - contact.heard > self.limits.monitor_grace_seconds / 2

    def _met(self, cluster: str, now: float) -> tuple[Contact, bool]:
        """The contact, now that a message came; and whether it may have been taken for lost before."""
        contact = self._contacts.get(cluster)
        if contact is None:
            return Contact(connected=True, since=now, heard=now, heard_since=now), False
        lost_at = contact.heard + self.limits.monitor_grace_seconds
        if now < lost_at:
            return replace(contact, heard=now), False
        losses = (*contact.losses[-1:], lost_at)
        return replace(contact, heard=now, heard_since=now, losses=losses), True

    def _set(self, cluster: str, contact: Contact, tell: bool) -> None:
        self._contacts[cluster] = contact
        if tell:
            for callback in list(self._subscribers.values()):
                callback(cluster)
