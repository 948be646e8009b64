"""What an API tells of its objects, kept by tests that prove the order of things: nothing is missed between two looks."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.e2e.harness import Api, Fleet

DEPLOYMENTS = "/apis/apps/v1/deployments"


class State(NamedTuple):
    """`type` is that of the watch event."""

    type: str
    object: dict[str, Any]


class Watching:
    """Every state of the objects at `path`, in the order in which they came to be, from `with` until its end; `now` are those that are
    there. `told` hears of each at once, in a thread of its own."""

    def __init__(self, api: Api, path: str, told: Callable[[State], None] | None = None) -> None:
        self.states: list[State] = []
        self._now: dict[str, dict[str, Any]] = {}
        self._path = path
        self._told = told
        self._api = Api(api.kubeconfig)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._answer: http.client.HTTPResponse | None = None

    def __enter__(self) -> Watching:
        listed = self._api.request("GET", self._path)
        for item in listed["items"]:
            self._keep(State("ADDED", item))
        self._api.close()
        url = self._api.url
        self._connection = http.client.HTTPSConnection(str(url.hostname), url.port, context=self._api.tls)
        version = listed["metadata"]["resourceVersion"]
        self._connection.request("GET", f"{self._path}?watch=true&resourceVersion={version}")
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            if self._connection.sock is not None:
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection.close()

    @property
    def now(self) -> list[dict[str, Any]]:
        return list(self._now.values())

    def _keep(self, state: State) -> None:
        self.states.append(state)
        if state.type == "DELETED":
            self._now.pop(state.object["metadata"]["uid"], None)
        else:
            self._now[state.object["metadata"]["uid"]] = state.object

    def _follow(self) -> None:
        """Ends with the watch: by `with`, or because who serves it was killed."""
        assert self._answer is not None
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            while line := self._answer.readline():
                event = json.loads(line)
                state = State(event["type"], event["object"])
                self._keep(state)
                if self._told is not None:
                    self._told(state)


class Move(NamedTuple):
    """A copy of a Deployment came to a member, or left it."""

    member: str
    name: str
    """With its namespace."""
    elsewhere: Mapping[str, int]
    """The ready replicas of the copies in other members, looked up afterwards: what made it come or go is to be seen there."""


class Moves:
    """Copies that come to members and leave them, and what was elsewhere then, all from the members themselves."""

    def __init__(self, fleet: Fleet, *members: str) -> None:
        self.came: list[Move] = []
        self.left: list[Move] = []
        self._fleet = fleet
        self._watches = [self._watch(name) for name in members or fleet.member_names]

    def __enter__(self) -> Moves:
        for watch in self._watches:
            watch.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for watch in self._watches:
            watch.__exit__()

    def _watch(self, member: str) -> Watching:
        others = {name: Api(api.kubeconfig) for name, api in self._fleet.members.items() if name != member}

        def told(state: State) -> None:
            if state.type in ("ADDED", "DELETED"):
                (self.came if state.type == "ADDED" else self.left).append(
                    _move(member, state.object, others)
                )

        return Watching(self._fleet.members[member], DEPLOYMENTS, told)


def _move(member: str, moved: Mapping[str, Any], others: Mapping[str, Api]) -> Move:
    space, name = moved["metadata"]["namespace"], moved["metadata"]["name"]
    ready = {}
    for other, api in others.items():
        with contextlib.suppress(OSError, http.client.HTTPException):
            copy = api.get(f"/apis/apps/v1/namespaces/{space}/deployments/{name}")
            if copy is not None:
                ready[other] = int((copy.get("status") or {}).get("readyReplicas") or 0)
        api.close()
    return Move(member, f"{space}/{name}", ready)
