"""Schedules in cron's notation, and time zones: what is wrong with one, in words. Empty: nothing."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = re.compile(r"@every ([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+")
_FIELDS = 5
_START = datetime(2000, 1, 1)
"""Any time: whether a schedule can be read does not depend on it."""


def schedule_error(schedule: str) -> str:
    """Five fields, or one of cron's words: `*/5 * * * *`, `@daily`, `@every 1h30m`."""
    if schedule.startswith("@"):
        known = schedule in _MACROS or _EVERY.fullmatch(schedule)
        return "" if known else f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != _FIELDS:
        return f"expected exactly {_FIELDS} fields, found {len(fields)}: [{schedule}]"
    try:
        CronSim(schedule.replace("?", "*"), _START)
    except CronSimError as error:
        return f"cannot be read as a schedule: {error}"
    return ""


def time_zone_error(name: str) -> str:
    """A name of the IANA database: `Europe/Berlin`, `UTC`."""
    if not name:
        return "timeZone must be nil or non-empty string"
    if name.lower() == "local":
        return "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return f"unknown time zone {name}"
    return ""
