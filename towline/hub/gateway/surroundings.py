"""What the gateway is given: the parts of a hub that it stands on, as it sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from towline.certs.authority import AgentIdentity, Leaf
from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.decide.detached import Detached
from towline.hub.decide.wire import WireWork, WorkReport
from towline.hub.gateway.enrolment import is_latest
from towline.hub.store.answers import AnswerTable
from towline.kube.objects import Key, Object
from towline.proto import fleet_pb2 as fleet


class Works(Protocol):
    """What the gateway uses of the table of Works (`hub/store/works.py`)."""

    @property
    def synced(self) -> bool: ...

    def works_of(self, cluster: str) -> Mapping[str, WireWork]: ...

    def subscribe(self, callback: Callable[[str, Collection[str]], None]) -> Callable[[], None]: ...

    def report(self, cluster: str, reports: Sequence[WorkReport]) -> None: ...

    def held(self, cluster: str, names: Iterable[str]) -> None: ...


class Members(Protocol):
    """Who wants to know how the members are. Called synchronously, times in epoch seconds."""

    def connected(self, cluster: str, hello: fleet.Hello, now: float) -> None: ...

    def disconnected(self, cluster: str, now: float) -> None: ...

    def facts(self, cluster: str, facts: fleet.Facts, now: float) -> None: ...

    def capacity(self, cluster: str, capacity: ClusterCapacity, now: float) -> None: ...

    def heartbeat(self, cluster: str, api_server_ready: bool, now: float) -> None: ...

    def deletions_held(self, cluster: str, count: int, reason: str) -> None: ...

    def gone(self, cluster: str) -> None: ...


class ClusterRow(Protocol):
    @property
    def object(self) -> Object: ...


class Clusters(Protocol):
    """What the gateway uses of the hub's cache."""

    def get(self, key: Key) -> ClusterRow | None: ...

    def list(self, group: str, resource: str) -> Iterable[ClusterRow]: ...

    def subscribe(self, callback: Callable[[int, Sequence[Any]], None]) -> Callable[[], None]: ...


class Certificates(Protocol):
    """Whom to trust, what to show, and who signs agents' leaves: asked at every handshake, because all of it changes."""

    @property
    def bundle_pem(self) -> bytes: ...

    @property
    def leaf(self) -> Leaf: ...

    @property
    def issuing_key_id(self) -> str: ...

    def vouches_for(self, issuer: str) -> bool: ...

    def issue_agent(self, identity: AgentIdentity, public_key: Any, now: float) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """Who an agent showed to be, when its session began: its certificate, until when that lasts (epoch seconds) and whose it is,
    and whom the agent trusts."""

    identity: AgentIdentity
    ends_at: float
    issuer: str
    agent_version: str = ""
    trusts: tuple[str, ...] = ()
    detached: Detached | None = None
    """The certificate's cluster left: all that its agent may do is to hear of it."""


def _nobody_cares(shown: Shown) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the gateway is given. `raise_epoch(n)` moves the store's epoch to at least n and answers it. `shown` is told who
    an agent is when its session has begun.

    Of several hubs on one store: `catch_up` waits until this one has seen all that any of them committed before (raises Unavailable),
    `epoch` is the store's as this hub sees it and when it began (None: that of `HubIdentity` for good), `came_from_another(cluster)` whether another
    hub held the cluster's last session, and `gateways` where agents reach any of them."""

    works: Works
    clusters: Clusters
    members: Members
    certificates: Certificates
    raise_epoch: Callable[[int], Awaitable[int]]
    audit: Callable[[dict[str, Any]], None]
    now: Callable[[], float]
    shown: Callable[[Shown], None] = _nobody_cares
    catch_up: Callable[[], Awaitable[None]] = is_latest
    epoch: Callable[[], tuple[int, int]] | None = None
    came_from_another: Callable[[str], bool] = lambda cluster: False
    gateways: Callable[[], Sequence[str]] = tuple
    answers: AnswerTable = field(default_factory=AnswerTable)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
