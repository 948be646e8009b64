"""What the agent says of its cluster: version, whether its API server is ready, which kinds it serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from towline.agent.kubernetes import Member, MemberUnreachable, Refused
from towline.kube.objects import uid_of
from towline.proto import fleet_pb2 as fleet

log = logging.getLogger("towline.agent.facts")

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_SLOW_EVERY = 6
"""Discovery that cannot say 'not modified' is read only every so many rounds."""


class Facts:
    """Reads the facts again and again.

    `changed(facts)` is called the first time and whenever they differ; `reachable()` whenever the API server answers
    again after it did not."""

    def __init__(
        self,
        member: Member,
        seconds: float,
        changed: Callable[[fleet.Facts], None],
        reachable: Callable[[], None],
    ) -> None:
        self._member = member
        self._seconds = seconds
        self._changed = changed
        self._reachable = reachable
        self._last: fleet.Facts | None = None
        self._documents: dict[str, tuple[str, list[fleet.ApiEnablement], bool]] = {}
        """By path: its ETag, and what `_document` made of it."""
        self._listed: list[fleet.ApiEnablement] = []
        self._complete = False
        self._rounds = 0

    @property
    def ready(self) -> bool:
        return self._last is not None and self._last.api_server_ready

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._seconds)

    async def look(self) -> fleet.Facts:
        """One round."""
        facts = await self._read()
        before = self._last
        self._last = facts
        if facts.api_server_ready and (before is None or not before.api_server_ready):
            self._reachable()
        if facts != before:
            if before is None or before.api_server_ready != facts.api_server_ready:
                log.info("the member's API server: %s", facts.api_server_message)
            self._changed(facts)
        return facts

    async def _read(self) -> fleet.Facts:
        before = self._last or fleet.Facts()
        facts = fleet.Facts(kubernetes_version=before.kubernetes_version)
        (
            facts.api_server_ready,
            facts.api_server_unreachable,
            facts.api_server_message,
        ) = await self._readiness()
        if facts.api_server_ready:
            try:
                version = await self._member.get("/version")
                facts.kubernetes_version = str(version.get("gitVersion") or "")
            except (MemberUnreachable, Refused) as error:
                log.debug("the member's version cannot be read: %s", error)
            try:
                await self._enablements()
            except (MemberUnreachable, Refused) as error:
                # What could not be read is not absent: what is known is kept, and said to be incomplete.
                log.debug("the member's kinds cannot be read: %s", error)
                self._complete = False
        facts.api_enablements.extend(self._listed)
        facts.api_enablements_complete = self._complete
        self._rounds += 1
        return facts

    async def _readiness(self) -> tuple[bool, bool, str]:
        """Whether the API server is ready, whether it did not even answer, and what to tell of it."""
        for path in ("/readyz", "/healthz"):
            try:
                await self._member.call("GET", path, timeout_seconds=5)
                return True, False, "cluster is healthy and ready to accept workloads"
            except Refused as refused:
                if refused.code == 404 and path == "/readyz":
                    continue
                if refused.code in (401, 403):
                    return False, False, f"the agent's credentials for the member are refused: {refused}"
                return False, False, f"cluster is reachable but not ready: {refused}"
            except MemberUnreachable as error:
                return False, True, f"cluster is not reachable: {error}"
        return False, False, "cluster has neither /readyz nor /healthz"

    async def _enablements(self) -> None:
        """Aggregated discovery (two requests, mostly answered 304), or group by group where it is not offered."""
        if self._listed and self._complete and self._rounds % _SLOW_EVERY and not self._documents:
            return
        rows: list[fleet.ApiEnablement] = []
        complete = True
        for path in ("/api", "/apis"):
            found, whole = await self._document(path)
            rows += found
            complete = complete and whole
        self._listed = sorted(rows, key=lambda row: row.group_version)
        self._complete = complete

    async def _document(self, path: str) -> tuple[list[fleet.ApiEnablement], bool]:
        """What is served below `path`, and whether that is all. What is known is kept as it is told: the document may be large."""
        known = self._documents.get(path)
        answer = await self._member.call("GET", path, accept=_AGGREGATED, etag=known[0] if known else "")
        if answer.status == 304 and known is not None:
            return known[1:]
        document = answer.json()
        if document.get("kind") != "APIGroupDiscoveryList":
            self._documents.clear()
            return await self._one_by_one(path, document)
        rows, whole = _aggregated(document)
        if etag := answer.headers.get("ETag", ""):
            self._documents[path] = etag, rows, whole
        return rows, whole

    async def _one_by_one(self, path: str, document: Any) -> tuple[list[fleet.ApiEnablement], bool]:
        if path == "/api":
            versions = [str(version) for version in document.get("versions") or []]
        else:
            versions = [
                str(version["groupVersion"])
                for group in document.get("groups") or []
                for version in group.get("versions") or []
            ]
        rows: list[fleet.ApiEnablement] = []
        complete = True
        for version in versions:
            try:
                listing = await self._member.get(f"{path}/{version}")
            except Refused:
                complete = False  # an aggregated API server that is down, usually
                continue
            rows.append(
                _enablement(
                    version,
                    ((row["name"], row["kind"]) for row in listing.get("resources") or []),
                )
            )
        return rows, complete


async def cluster_uid(member: Member) -> str:
    """The uid of the kube-system namespace, which names a cluster for its whole life (`default`'s, where there is
    none). Raises MemberUnreachable and Refused."""
    for name in ("kube-system", "default"):
        try:
            namespace = await member.get(f"/api/v1/namespaces/{name}")
        except Refused as refused:
            if refused.code != 404 or name == "default":
                raise
            continue
        if uid := uid_of(namespace):
            return uid
    raise MemberUnreachable("the member's namespaces have no uid")


def _aggregated(document: Any) -> tuple[list[fleet.ApiEnablement], bool]:
    rows: list[fleet.ApiEnablement] = []
    complete = True
    for group in document.get("items") or []:
        name = (group.get("metadata") or {}).get("name") or ""
        for version in group.get("versions") or []:
            if version.get("freshness") == "Stale":
                complete = False
            group_version = f"{name}/{version['version']}" if name else version["version"]
            rows.append(
                _enablement(
                    group_version,
                    (
                        (row["resource"], (row.get("responseKind") or {}).get("kind") or "")
                        for row in version.get("resources") or []
                    ),
                )
            )
    return rows, complete


def _enablement(group_version: str, resources: Any) -> fleet.ApiEnablement:
    rows = sorted((name, kind) for name, kind in resources if "/" not in name and kind)
    return fleet.ApiEnablement(
        group_version=group_version,
        resources=[fleet.ApiResource(name=name, kind=kind) for name, kind in rows],
    )
