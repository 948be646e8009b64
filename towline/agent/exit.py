"""The agent's own end, after its cluster was detached: wait until nothing is held any more, remove the agent if that was asked for.

Where `towline join` installed it, everything of it is in a namespace of its own. What is not inside (ClusterRole, ClusterRoleBinding,
Roles in other namespaces) is made the namespace's, and the namespace is deleted: the member's garbage collection takes the
rest, when the agent is dead already and could not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from towline.agent.kubernetes import MERGE_PATCH, Member, MemberUnreachable, Refused
from towline.agent.session import Detached
from towline.kube.names import AGENT as AGENT

log = logging.getLogger("towline.agent.exit")

PART_OF = "app.kubernetes.io/part-of"
RETRY_SECONDS = 10.0
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Exit:
    """`namespace` is where this agent runs as a pod, empty for a process. `held()` is how many Works are still to be carried out,
    `search(remains)` brings back those that the disk lost; `remove()` removes the agent from the member, `end()` ends this process."""

    def __init__(
        self, cluster: str, namespace: str, *, held: Callable[[], int], search: Callable[[int], Awaitable[None]],
        remove: Callable[[], Awaitable[None]], end: Callable[[], None],
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._namespace = namespace
        self._held = held
        self._search = search
        self._remove = remove
        self._end = end
        self.said: Detached | None = None
        """What the hub said last; None: the cluster is not detached."""
        self._wake = asyncio.Event()

    def told(self, said: Detached) -> None:
        """The hub said that the cluster is detached."""
        if self.said is None:
            log.warning(
                "cluster %s is detached from its hub; %d Works to finish", self._cluster, self._held()
            )
        self.said = said
        self._wake.set()

    def look(self) -> None:
        """Something may be finished."""
        if self.said is not None:
            self._wake.set()

    async def run(self) -> None:
        """Ends the process when all is done. A pod would only be started again: it stays until it is removed."""
        while self.said is None:
            await self._waited()
        await self._search(self.said.remains)
        while self._held():
            await self._waited()
        if not self._namespace:
            log.warning(
                "cluster %s is detached and nothing is left to do: this agent ends. To join again give it a token of "
                "`towline join`",
                self._cluster,
            )
            self._end()
        elif not self.said.remove_agent:
            log.warning(
                "cluster %s is detached: this agent has nothing left to do and can be deleted with namespace %s",
                self._cluster, self._namespace,
            )  # fmt: skip
        else:
            await self._remove()

    async def _waited(self) -> None:
        await self._wake.wait()
        self._wake.clear()


async def remove_agent(
    member: Member, namespace: str, namespaces: Sequence[str], sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Remove what `towline join` installed; `namespaces` are others that it has Roles in. Goes on until the member took it."""
    while True:
        try:
            await _remove(member, namespace, namespaces)
            return
        except MemberUnreachable as error:
            log.warning("the agent cannot remove itself now: %s", error)
        except Refused as error:
            there = f", and Role and RoleBinding {AGENT} in {', '.join(namespaces)}" if namespaces else ""
            log.error(
                "this agent may not remove itself (%s): delete namespace %s, ClusterRole and ClusterRoleBinding %s%s",
                error, namespace, AGENT, there,
            )  # fmt: skip
            return
        await sleep(RETRY_SECONDS)


async def _remove(member: Member, namespace: str, namespaces: Sequence[str]) -> None:
    home = f"/api/v1/namespaces/{namespace}"
    found: Any = await member.get(home)
    if ((found["metadata"].get("labels") or {}).get(PART_OF)) != "towline":
        log.warning(
            "namespace %s is not the agent's own: remove this agent the way it was installed", namespace
        )
        return
    owner = {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": found["metadata"]["uid"]}
    outside = [f"{_RBAC}/clusterroles/{AGENT}", f"{_RBAC}/clusterrolebindings/{AGENT}"]
    for other in namespaces:
        outside += [f"{_RBAC}/namespaces/{other}/{kind}/{AGENT}" for kind in ("roles", "rolebindings")]
    for path in outside:
        await _let_own(member, path, owner)
    await member.call("DELETE", home)
    log.warning("this agent removes itself: namespace %s is deleted", namespace)


async def _let_own(member: Member, path: str, owner: Any) -> None:
    """`owner`'s end is the end of the object at `path`, if there is one."""
    body = orjson.dumps({"metadata": {"ownerReferences": [owner]}})
    try:
        await member.call("PATCH", path, body=body, content_type=MERGE_PATCH)
    except Refused as error:
        if error.code != 404:
            raise
