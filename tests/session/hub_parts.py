"""The parts of a hub that gateway and enrolment stand on, in memory: rows, clusters, Works, who is told what."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from towline.certs.authority import AgentIdentity, Leaf
from towline.certs.rotation import Authorities
from towline.hub.decide.capacity import ClusterCapacity
from towline.hub.decide.wire import WireWork, WorkReport
from towline.hub.gateway.enrolment import CLUSTER_API_VERSION
from towline.hub.gateway.farewell import CLUSTERS
from towline.hub.store.contract import Conflict, Write
from towline.kube.objects import Key, Object, decode, name_of, parse_path, with_metadata
from towline.proto import fleet_pb2 as fleet


@dataclass
class Rows:
    """A store and its cache: keys to objects with revisions."""

    rows: dict[Key, SimpleNamespace] = field(default_factory=dict)
    revision: int = 0
    subscribers: list[Callable[[int, Sequence[Any]], None]] = field(default_factory=list)

    def get(self, key: Key) -> Any:
        return self.rows.get(key)

    def list(self, group: str, resource: str) -> list[Any]:
        return [row for key, row in self.rows.items() if (key.group, key.resource) == (group, resource)]

    async def commit(self, writes: Sequence[Write]) -> int:
        for write in writes:
            held = self.rows.get(parse_path(write.key))
            if (held.revision if held is not None else 0) != write.expected:
                raise Conflict([write.key])
        for write in writes:
            if write.value is None:
                self.delete(parse_path(write.key))
            else:
                self.put(parse_path(write.key), decode(write.value))
        return self.revision

    def put(self, key: Key, obj: Object) -> None:
        self.revision += 1
        stamped = with_metadata(obj, resourceVersion=str(self.revision))
        self.rows[key] = SimpleNamespace(key=key, object=stamped, revision=self.revision)
        self._tell(self.rows[key])

    def delete(self, key: Key) -> None:
        self.revision += 1
        self._tell(self.rows.pop(key))

    def subscribe(self, callback: Callable[[int, Sequence[Any]], None]) -> Callable[[], None]:
        self.subscribers.append(callback)
        return lambda: self.subscribers.remove(callback)

    def _tell(self, row: SimpleNamespace) -> None:
        for subscriber in self.subscribers:
            subscriber(self.revision, [SimpleNamespace(entry=row)])


@dataclass
class Certificates:
    """What a hub trusts, shows and signs with; set `authorities` and it is another."""

    authorities: Authorities
    leaf: Leaf

    @property
    def bundle_pem(self) -> bytes:
        return self.authorities.bundle_pem

    @property
    def issuing_key_id(self) -> str:
        return self.authorities.issuing.key_id

    def vouches_for(self, issuer: str) -> bool:
        return self.authorities.vouches_for(issuer)

    def issue_agent(self, identity: AgentIdentity, public_key: Any, now: float) -> bytes:
        return self.authorities.issue_agent(identity, public_key, now)


@dataclass
class ClusterObjects:
    """The Cluster objects in `Rows`, as enrolment writes them."""

    rows: Rows
    uids: Any = field(default_factory=itertools.count)

    def get(self, name: str) -> Object | None:
        row = self.rows.get(Key(*CLUSTERS, "", name))
        return row.object if row is not None else None

    def list(self) -> Sequence[Object]:
        return [row.object for key, row in self.rows.rows.items() if key.resource == "clusters"]

    async def write(self, obj: Object) -> Object:
        key = Key(*CLUSTERS, "", name_of(obj))
        if not obj["metadata"].get("uid"):
            obj = with_metadata(obj, uid=f"cluster-{next(self.uids)}")
        self.rows.put(key, obj)
        stored: Object = self.rows.get(key).object
        return stored

    def add(self, name: str, **spec: Any) -> Object:
        obj = {
            "apiVersion": CLUSTER_API_VERSION, "kind": "Cluster",
            "metadata": {"name": name, "uid": f"object-{name}"}, "spec": {"syncMode": "Pull", **spec},
        }  # fmt: skip
        self.rows.put(Key(*CLUSTERS, "", name), obj)
        return obj


@dataclass
class Table:
    """The table of Works."""

    works: dict[str, dict[str, WireWork]] = field(default_factory=dict)
    synced: bool = True
    reports: list[tuple[str, WorkReport]] = field(default_factory=list)
    seen_held: list[tuple[str, str]] = field(default_factory=list)
    subscribers: list[Callable[[str, set[str]], None]] = field(default_factory=list)

    def works_of(self, cluster: str) -> Mapping[str, WireWork]:
        return self.works.get(cluster, {})

    def subscribe(self, callback: Callable[[str, set[str]], None]) -> Callable[[], None]:
        self.subscribers.append(callback)
        return lambda: self.subscribers.remove(callback)

    def report(self, cluster: str, reports: Sequence[WorkReport]) -> None:
        self.reports += [(cluster, report) for report in reports]

    def held(self, cluster: str, names: Iterable[str]) -> None:
        self.seen_held += [(cluster, name) for name in names]

    def put(self, cluster: str, *works: WireWork) -> None:
        self.works.setdefault(cluster, {}).update({work.name: work for work in works})
        for subscriber in self.subscribers:
            subscriber(cluster, {work.name for work in works})


@dataclass
class Told:
    """Who is connected, and what was said of members."""

    log: list[tuple[Any, ...]] = field(default_factory=list)

    def connected(self, cluster: str, hello: fleet.Hello, now: float) -> None:
        self.log.append(("connected", cluster))

    def disconnected(self, cluster: str, now: float) -> None:
        self.log.append(("disconnected", cluster))

    def facts(self, cluster: str, facts: fleet.Facts, now: float) -> None:
        self.log.append(("facts", cluster, facts.kubernetes_version))

    def capacity(self, cluster: str, capacity: ClusterCapacity, now: float) -> None:
        self.log.append(("capacity", cluster, capacity))

    def heartbeat(self, cluster: str, api_server_ready: bool, now: float) -> None:
        self.log.append(("heartbeat", cluster, api_server_ready))

    def deletions_held(self, cluster: str, count: int, reason: str) -> None:
        self.log.append(("deletions_held", cluster, count, reason))

    def gone(self, cluster: str) -> None:
        self.log.append(("gone", cluster))
