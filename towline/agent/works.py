"""What the agent knows of one Work besides its row in the desired table: how far it is applied, and what it waits for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from towline.agent.desired import Ref
from towline.agent.execution import Applied
from towline.agent.watcher import Record


@dataclass(slots=True, eq=False)
class Work:
    """Changed by the applier; `agent/reports` tells the hub of it, and takes its notes."""

    name: str
    refs: tuple[Ref, ...] = ()
    """Objects of the version that was last begun, in manifest order."""
    rank: int = 0
    applied: dict[Ref, Applied] = field(default_factory=dict)
    shared: dict[Ref, Record] = field(default_factory=dict)
    plurals: dict[Ref, str] = field(default_factory=dict)
    settled: bytes | None = None
    """Hash of the version of which everything is applied; None: something is missing."""
    queued: bool = False
    running: bool = False
    again: bool = False
    attempts: int = 0
    lacks_base: bool = False
    removable: bool = False
    """Its removal is on the disk. One that is not may be forgotten, and what it took away would be made again."""
    timer: asyncio.TimerHandle | None = None
    notes: list[str] = field(default_factory=list)
    """Drift that was put back and is not reported yet."""
    fights: int = 0
    fought_at: float = float("-inf")
