"""The audit log: one JSON line for each request, in DATA/audit.log, rotated.

Lines are collected where requests are answered, and written in order by a thread of their own, so that no request waits for
the disk. A disk that takes nothing costs lines, which are counted, and never an answer.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson

AUDIT_FILE = "audit.log"

log = logging.getLogger(__name__)


class AuditLog:
    """Appends what it is called with, and when; on the disk within `flush_seconds`. `close` it when nothing writes any
    more. `lost` counts the lines that the disk did not take, or that were more than `lines_max` at once."""

    def __init__(
        self,
        directory: Path,
        *,
        bytes_max: int,
        files: int,
        now: Callable[[], float],
        flush_seconds: float = 0.5,
        lines_max: int = 50_000,
    ) -> None:
        self.lost = 0
        self._now = now
        self._flush_seconds = flush_seconds
        self._lines_max = lines_max
        self._lines: list[str] = []
        self._said = False
        self._handler = _Rotating(
            directory / AUDIT_FILE, maxBytes=bytes_max, backupCount=files, encoding="utf-8"
        )
        self._handler.setFormatter(logging.Formatter("%(message)s"))
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="audit", daemon=True)
        self._writer.start()

    def __call__(self, event: dict[str, Any]) -> None:
        if len(self._lines) >= self._lines_max:
            self._lose(1)
            return
        self._lines.append(orjson.dumps({"time": round(self._now(), 3), **event}, default=str).decode())

    def close(self) -> None:
        self._closing.set()
        self._writer.join()
        try:
            self._handler.close()
        except OSError as error:  # what was still buffered found no room
            self._lose(0, error)

    def _write_on(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(self._flush_seconds)
            count = len(self._lines)
            lines, self._lines[:count] = self._lines[:count], []
            for done, line in enumerate(lines):
                try:
                    self._handler.emit(logging.LogRecord("audit", logging.INFO, "", 0, line, None, None))
                except OSError as error:
                    self._lose(len(lines) - done, error)
                    break

    def _lose(self, lines: int, error: OSError | None = None) -> None:
        self.lost += lines
        if not self._said:
            self._said = True
            log.error("audit lines are lost: %s", error or "more than can be written")


class _Rotating(logging.handlers.RotatingFileHandler):
    def _open(self) -> Any:
        """For the hub's own eyes, whoever may look into the folder."""
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=partial(os.open, mode=0o600))

    def handleError(self, record: logging.LogRecord) -> None:
        raise
