"""Each of several hubs holds its share of the sessions: one that holds clearly more asks a few agents at a time to go to the one with the fewest.

Agents stay where they are, so after a hub was away all of them are at the others; what is here brings them back, slowly. What
`leaving` decides is pure; `Sharing` looks every few seconds, by the rows that say where sessions are.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
STEADY_SECONDS = 30.0
"""How long another hub has to live before anybody is sent there."""
UNDER_WAY_SECONDS = 60.0
"""How long an agent that was asked to go counts as there, if it is not seen again."""
AGAIN_SECONDS = 3600.0
"""An agent that was asked is not asked again for so long: it may not reach the other hub."""
CAME_BACK_MAX = 2
"""When more agents than that are here again, and most of those who were asked, the other hub is not for them: nobody else is asked."""
SLACK = 0.1
"""The part of its share that a hub may hold beyond it."""
AT_A_TIME = 0.02
"""The part of its sessions that a hub sends away in one look; one at least."""


def leaving(mine: int, others: Mapping[str, int]) -> tuple[str, int] | None:
    """To which hub how many of this hub's sessions are to go now, by the sessions of the `others` that live; None: none.

    Those who were asked already count where they go. Nobody has to go when each hub holds its share, rounded up: so two hubs never send an
    agent to and fro."""
    if not others:
        return None
    share = math.ceil((mine + sum(others.values())) / (1 + len(others)))
    fewest = min(others, key=lambda hub: (others[hub], hub))
    over, room = mine - share, share - others[fewest]
    if over <= share * SLACK:
        return None
    return fewest, min(over, room, max(1, int(mine * AT_A_TIME)))


class Sharing:
    """`living()` answers the gateways of the other hubs that live, by name; `here()` the clusters with a session at this one, the newest last;
    `elsewhere()` which other hub has a cluster's session; `send(clusters, gateways)` asks agents to go. `elapsed` only goes forward."""

    def __init__(
        self, *, living: Callable[[], Mapping[str, Sequence[str]]], here: Callable[[], Collection[str]],
        elsewhere: Callable[[], Mapping[str, str]], send: Callable[[Iterable[str], Sequence[str]], None], elapsed: Callable[[], float],
    ) -> None:  # fmt: skip
        self._living = living
        self._here = here
        self._elsewhere = elsewhere
        self._send = send
        self._elapsed = elapsed
        self._since: dict[str, float] = {}
        """Since when another hub lives."""
        self._asked: dict[str, tuple[str, float]] = {}
        """Where an agent was asked to go, and when."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        now, living = self._elapsed(), self._living()
        self._since = {hub: self._since.get(hub, now) for hub in living}
        self._asked = {name: asked for name, asked in self._asked.items() if now - asked[1] < AGAIN_SECONDS}
        here, elsewhere = self._here(), self._elsewhere()
        counts = Counter(elsewhere.values())
        counts.update(
            hub
            for name, (hub, at) in self._asked.items()
            if now - at < UNDER_WAY_SECONDS and name not in here and name not in elsewhere
        )
        steady = {hub: counts[hub] for hub, since in self._since.items() if now - since >= STEADY_SECONDS}
        found = leaving(len(here), steady)
        came_back = sum(name in here for name in self._asked)
        if found is None or came_back > max(CAME_BACK_MAX, len(self._asked) / 2):
            return
        hub, number = found
        going = [name for name in reversed(list(here)) if name not in self._asked][:number]
        if going:
            log.info("%d agents are asked to go to another hub, which holds fewer", len(going))
            self._asked |= dict.fromkeys(going, (hub, now))
            self._send(going, living[hub])
