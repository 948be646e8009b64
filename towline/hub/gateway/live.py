"""A session with its stream, while both are there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from towline.hub.gateway.session import HubSession
from towline.hub.gateway.surroundings import Shown
from towline.proto import fleet_pb2 as fleet

log = logging.getLogger(__name__)

GOODBYE_SECONDS = 3.0
"""How long a session that ends may take to deliver its GoAway."""
_ALARM_SECONDS_MIN = 0.05


@dataclass(slots=True, eq=False)
class Live:
    """One session with its stream. `wake`: there may be something to send. `writer` sends it; its end is the stream's."""

    shown: Shown
    session: HubSession
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    raise_epoch_to: int = 0
    writer: asyncio.Task[None] | None = None
    _alarm: asyncio.TimerHandle | None = None
    _alarm_at: float = 0.0
    _ending: bool = False

    def __post_init__(self) -> None:
        log.info("a session of cluster %s begins", self.cluster)

    def log_end(self) -> None:
        """It was the cluster's session, and there is none any more."""
        why = self.session.closed.reason if self.session.closed else "its agent hung up"
        log.info("the session of cluster %s ends: %s", self.cluster, why)

    @property
    def cluster(self) -> str:
        return self.shown.identity.cluster

    @property
    def deadline(self) -> float:
        """When there is something to do although nothing happens."""
        return min(self.session.deadline, self.shown.ends_at)

    def alarm(self, now: Callable[[], float], look: Callable[[Live], None]) -> None:
        """Call `look` at the deadline or earlier. At rest that is one timer a session, which costs nothing while the deadline moves
        away from it."""
        at = self.deadline
        if self._ending or (self._alarm is not None and self._alarm_at <= at):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        seconds = max(at - now(), _ALARM_SECONDS_MIN)
        self._alarm = asyncio.get_running_loop().call_later(seconds, self._ring, look)

    def close(
        self, reason: str, *, reconnect: bool = True, detached: fleet.Detached | None = None, gateways: Sequence[str] = (),
        superseded: bool = False,
    ) -> None:  # fmt: skip
        self.session.close(
            reason, reconnect=reconnect, detached=detached, gateways=gateways, superseded=superseded
        )
        self.wake.set()
        self.closed()

    def closed(self) -> None:
        """The session has ended: a writer that cannot deliver its GoAway, because nobody reads, ends too."""
        if not self._ending:
            self.silence()
            self._alarm = asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self.hang_up)

    def hang_up(self) -> None:
        if self.writer is not None:
            self.writer.cancel()

    def silence(self) -> None:
        """No alarm any more."""
        self._ending = True
        if self._alarm is not None:
            self._alarm.cancel()

    def _ring(self, look: Callable[[Live], None]) -> None:
        self._alarm = None
        try:
            look(self)
        except BaseException:
            self.hang_up()  # nobody would look again
            raise
