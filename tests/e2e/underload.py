"""Deployments that are created and changed while other things happen, and what must be true of them in the end."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from tests.e2e.harness import Api, Fleet
from tests.e2e.objects import APPS, deployment

BINDINGS = "/apis/work.karmada.io/v1alpha2/resourcebindings"


class Load:
    """Until the end of `with`, seven times a second: creates a Deployment in one of the namespaces `created`, or scales one in one of
    `scaled`.

    `wanted`: the replicas of each (namespace, name) as the hub acknowledged them last."""

    def __init__(self, fleet: Fleet, created: tuple[str, ...], scaled: tuple[str, ...], seed: int) -> None:
        self.wanted: dict[tuple[str, str], int] = {}
        self.failed: BaseException | None = None
        self._api = Api(fleet.hub.kubeconfig)
        self._created = created
        self._scaled = scaled
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def create(self, space: str, name: str, replicas: int) -> None:
        self._api.request("POST", f"{APPS}/{space}/deployments", deployment(name, space, replicas))
        self.wanted[space, name] = replicas

    def scale(self, space: str, name: str, replicas: int) -> None:
        self._api.merge(f"{APPS}/{space}/deployments/{name}", {"spec": {"replicas": replicas}})
        self.wanted[space, name] = replicas

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)
        self._api.close()

    def _run(self) -> None:
        number = 0
        try:
            while not self._ended.wait(0.15):
                number += 1
                if number % 5 == 0:
                    self.create(
                        self._random.choice(self._created), f"new-{number}", self._random.randint(3, 4)
                    )
                else:
                    self.scale(
                        *self._random.choice([each for each in self.wanted if each[0] in self._scaled]),
                        self._random.randint(3, 4),
                    )
        except BaseException as error:  # who looks at the load sees it
            self.failed = error


def said(fleet: Fleet, bindings: Iterable[Mapping[str, Any]]) -> dict[str, dict[tuple[str, str], int]]:
    """What bindings say each member is to hold: replicas by (namespace, name)."""
    found: dict[str, dict[tuple[str, str], int]] = {name: {} for name in fleet.member_names}
    for binding in bindings:
        spec = binding["spec"]
        divided = (spec["placement"].get("replicaScheduling") or {}).get("replicaSchedulingType") == "Divided"
        for row in spec.get("clusters") or ():
            count = row["replicas"] if divided else spec["replicas"]
            found[row["name"]][spec["resource"]["namespace"], spec["resource"]["name"]] = count
    return found


def held(fleet: Fleet, *members: str) -> dict[str, dict[tuple[str, str], int]]:
    """What each member holds."""
    apis = {name: fleet.members[name] for name in members or fleet.member_names}
    return {
        name: {name_of(item): item["spec"]["replicas"] for item in api.items("/apis/apps/v1/deployments")}
        for name, api in apis.items()
    }


def name_of(obj: Mapping[str, Any]) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
