"""Ports for servers that a test starts, and starts again on the same one."""

from __future__ import annotations

import itertools
import os
import socket

FIRST, LAST = 10_000, 32_768
"""Below those that Linux gives to connections: one of them could sit on the port of a server that is down for a moment, or, dialling it,
meet itself there."""
EACH = 4_000
"""How many each of the processes that run tests at a time has for itself."""

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_numbers = itertools.count(os.getpid() * 7)


def free_port() -> int:
    """One on which nobody listens, and that was not given away lately."""
    while True:
        port = FIRST + (_WORKER * EACH + next(_numbers) % EACH) % (LAST - FIRST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
