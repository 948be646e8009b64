"""Schedules and time zones: what is taken, and what is told about what is not."""

from __future__ import annotations

import pytest

from towline.kube.schedules import schedule_error, time_zone_error


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * *",
        "*/5 0-6 1,15 * MON-FRI",
        "0 0 ? * *",
        "0 0 1 JAN *",
        "@daily",
        "@midnight",
        "@every 1h30m",
    ],
)
def test_schedules(schedule: str) -> None:
    assert schedule_error(schedule) == ""


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("", "expected exactly 5 fields, found 0"),
        ("* * * *", "expected exactly 5 fields, found 4"),
        ("0 * * * * *", "expected exactly 5 fields, found 6"),
        ("TZ=UTC 0 * * * *", "expected exactly 5 fields, found 6"),
        ("61 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day-of-month"),
        ("* * * 13 *", "month"),
        ("*/0 * * * *", "minute"),
        ("@fortnightly", "unrecognized descriptor"),
        ("@every soon", "unrecognized descriptor"),
    ],
)
def test_wrong_schedules(schedule: str, told: str) -> None:
    assert told in schedule_error(schedule)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Etc/GMT+3"])
def test_time_zones(name: str) -> None:
    assert time_zone_error(name) == ""


@pytest.mark.parametrize("name", ["", "Local", "Mars/Olympus", "../zone", "/etc/passwd", "Europe", "a\0b"])
def test_wrong_time_zones(name: str) -> None:
    assert time_zone_error(name) != ""
