"""A session with its stream, while both are there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from towline.hub.gateway.session import HubSession
from towline.hub.gateway.surroundings import Shown
from towline.proto import fleet_pb2 as fleet


@dataclass(slots=True, eq=False)
class Live:
    """One session with its stream. `wake`: there may be something to send; `urgent`: do not wait for the next tick."""

    shown: Shown
    session: HubSession
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    urgent: asyncio.Event = field(default_factory=asyncio.Event)
    raise_epoch_to: int = 0

    @property
    def cluster(self) -> str:
        return self.shown.identity.cluster

    def close(self, reason: str, *, reconnect: bool = True, detached: fleet.Detached | None = None) -> None:
        self.session.close(reason, reconnect=reconnect, detached=detached)
        self.wake.set()
        self.urgent.set()
