"""The audit log is in order, complete when closed, and never takes the API down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from towline.hub.audit import AUDIT_FILE, AuditLog


def test_lines_are_in_order_and_all_there_when_it_is_closed(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path, bytes_max=1 << 20, files=2, now=lambda: 5.0)
    for number in range(1000):
        audit({"name": str(number)})
    audit.close()
    lines = [json.loads(line) for line in (tmp_path / AUDIT_FILE).read_text().splitlines()]
    assert [line["name"] for line in lines] == [str(number) for number in range(1000)]
    assert lines[0]["time"] == 5.0 and audit.lost == 0
    assert (tmp_path / AUDIT_FILE).stat().st_mode & 0o777 == 0o600


def test_a_full_disk_costs_lines_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / AUDIT_FILE).symlink_to("/dev/full")
    audit = AuditLog(tmp_path, bytes_max=0, files=0, now=lambda: 5.0, flush_seconds=60, lines_max=2)
    for _ in range(5):
        audit({"name": "x"})
    try:
        audit.close()
    except OSError:
        pytest.fail("a full disk reached the caller")
    assert audit.lost >= 3 and len(caplog.records) == 1
