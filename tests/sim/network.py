"""A connection between a hub and an agent that loses, repeats and reorders what is sent, if told to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from towline.proto import fleet_pb2 as fleet


@dataclass
class Weather:
    """Probabilities, for each message."""

    drop: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0


@dataclass
class Pipe:
    """One direction. Messages are copied as bytes, as on a wire."""

    rng: random.Random
    weather: Weather
    messages: list[bytes] = field(default_factory=list)
    cut: bool = False

    def send(self, message: bytes) -> None:
        if self.cut or self.rng.random() < self.weather.drop:
            return
        self.messages.append(message)
        if self.rng.random() < self.weather.repeat:
            self.messages.append(message)

    def receive(self) -> bytes | None:
        if self.cut or not self.messages:
            return None
        at = 0
        if self.rng.random() < self.weather.reorder:
            at = self.rng.randrange(min(4, len(self.messages)))
        return self.messages.pop(at)


class Connection:
    """Both directions of one stream."""

    def __init__(self, rng: random.Random, weather: Weather) -> None:
        self.up, self.down = Pipe(rng, weather), Pipe(rng, weather)
        self.open = True

    def cut(self, cut: bool) -> None:
        """A black hole: nobody notices but by silence."""
        self.up.cut = self.down.cut = cut

    def to_hub(self, batch: fleet.AgentBatch) -> None:
        self.up.send(batch.SerializeToString(deterministic=True))

    def to_agent(self, batch: fleet.HubBatch) -> None:
        self.down.send(batch.SerializeToString(deterministic=True))

    def at_hub(self) -> fleet.AgentBatch | None:
        message = self.up.receive()
        return fleet.AgentBatch.FromString(message) if message is not None else None

    def at_agent(self) -> fleet.HubBatch | None:
        message = self.down.receive()
        return fleet.HubBatch.FromString(message) if message is not None else None
