"""Whether what runs in a member becomes ready, as a test says.

A simulated member's workloads become ready by themselves, but find no node while all are cordoned. Beside a real kube-apiserver runs no
controller: what the one of Deployments would write is written from here.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from typing import Any

from tests.e2e.harness import Api, ApiError, Fleet

DEPLOYMENTS = "/apis/apps/v1/deployments"


class Readiness:
    """Of all members of `fleet`, from `with` until its end."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._held: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._control)

    def __enter__(self) -> Readiness:
        if self._fleet.real_members:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._fleet.real_members:
            self._thread.join(20)

    def hold(self, *members: str) -> None:
        """What comes there from now on does not become ready."""
        self._held |= set(members)
        self._cordon(members, True)

    def let_go(self, *members: str) -> None:
        self._held -= set(members)
        self._cordon(members, False)

    def break_down(self, member: str, space: str) -> None:
        """What runs in a namespace of a member is not ready any more, until the member is let go."""
        self.hold(member)
        api = self._fleet.members[member]
        if not self._fleet.real_members:
            api.request("DELETE", f"/api/v1/namespaces/{space}/pods")
            return
        for item in api.items(f"/apis/apps/v1/namespaces/{space}/deployments"):
            _write(api, item, _status(item, 0))

    def _cordon(self, members: tuple[str, ...], cordoned: bool) -> None:
        for api in (self._fleet.members[name] for name in members if not self._fleet.real_members):
            for node in api.items("/api/v1/nodes"):
                path = f"/api/v1/nodes/{node['metadata']['name']}"
                api.merge(path, {"spec": {"unschedulable": cordoned or None}})

    def _control(self) -> None:
        apis = {name: Api(api.kubeconfig) for name, api in self._fleet.members.items()}
        while not self._ended.wait(0.1):
            for name in apis.keys() - self._held:
                # It may be killed at any time, and objects change while they are looked at.
                with contextlib.suppress(OSError, http.client.HTTPException, ApiError):
                    for item in apis[name].items(DEPLOYMENTS):
                        wanted, said = _status(item, item["spec"]["replicas"]), item.get("status") or {}
                        if any(said.get(field, 0) != value for field, value in wanted.items()):
                            _write(apis[name], item, wanted)
        for api in apis.values():
            api.close()


def _status(deployment: dict[str, Any], ready: int) -> dict[str, int]:
    replicas = deployment["spec"]["replicas"]
    counts = {
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": ready,
        "availableReplicas": ready,
    }
    return {"observedGeneration": deployment["metadata"]["generation"], **counts}


def _write(api: Api, deployment: dict[str, Any], status: dict[str, int]) -> None:
    meta = deployment["metadata"]
    api.merge(
        f"/apis/apps/v1/namespaces/{meta['namespace']}/deployments/{meta['name']}/status", {"status": status}
    )
