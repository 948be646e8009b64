"""The audit log: one JSON line for each decision about somebody's request, in DATA/audit.log, rotated."""

from __future__ import annotations

import logging
import logging.handlers
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

AUDIT_FILE = "audit.log"


class AuditLog:
    """Appends what it is called with, and when. `close` it when nothing writes any more."""

    def __init__(self, directory: Path, *, bytes_max: int, files: int, now: Callable[[], float]) -> None:
        self._now = now
        self._handler = logging.handlers.RotatingFileHandler(
            directory / AUDIT_FILE, maxBytes=bytes_max, backupCount=files, encoding="utf-8"
        )
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def __call__(self, event: dict[str, Any]) -> None:
        line = orjson.dumps({"time": round(self._now(), 3), **event}, default=str).decode()
        self._handler.handle(logging.LogRecord("audit", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        self._handler.close()
