"""`towline hub` under cProfile, and its figures by part. `python -m bench.profiling FILE hub ...` runs it and writes FILE.

SIGUSR1 begins, so that the start and what a measurement needs first stay out; the end of the hub ends."""

from __future__ import annotations

import cProfile
import pstats
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.tables import Row
from towline.cli.main import main as towline

_PARTS = (
    ("TLS and HTTP", ("aiohttp/", "uvloop", "ssl.py", "multidict", "yarl", "asyncio/", "urllib/")),
    ("authenticate, authorize", ("api/authentic", "api/authoriz", "api/impersonation", "kube/rbac")),
    ("fairness, metrics, audit", ("api/fairness", "prometheus", "api/metrics", "hub/audit", "api/asked")),
    ("decode", ("api/bodies",)),
    ("admit", ("api/admission", "api/claims", "kube/schemas", "kube/builtin", "kube/names", "kube/field_errors")),
    ("managed fields", ("kube/apply", "kube/fields", "kube/merging", "kube/structure")),
    ("encode", ("kube/objects", "api/reads", "api/pages")),
    ("commit and cache", ("hub/store/", "grpc/")),
    ("controllers", ("hub/controllers/", "hub/decide/")),
    ("the rest of the API", ("hub/api/",)),
)  # fmt: skip


def parts(path: Path) -> list[Row]:
    """Time of the event loop's thread, by part. C code counts for its caller; TLS, which uvloop does unseen, for TLS and HTTP."""
    spent: Counter[str] = Counter()
    stats: Any = pstats.Stats(str(path))  # whose stub lacks `stats`
    for function, (_, _, own, _, callers) in stats.stats.items():
        if function[0] != "~" or not callers:
            spent[_part(function[0], function[2])] += own
            continue
        for caller, figures in callers.items():
            spent[_part(caller[0], caller[2])] += figures[2]
    whole = sum(spent.values())
    rows: list[Row] = [("part", "seconds", "share")]
    return rows + [
        (part, f"{seconds:.2f}", f"{seconds / whole:.0%}")
        for part, seconds in spent.most_common()
        if seconds > whole / 200
    ]


def _part(file: str, function: str) -> str:
    where = f"{file}:{function}"
    return next((part for part, names in _PARTS if any(name in where for name in names)), "other")


def main() -> None:
    path, sys.argv = sys.argv[1], ["towline", *sys.argv[2:]]
    profile = cProfile.Profile(time.thread_time)
    signal.signal(signal.SIGUSR1, lambda number, frame: profile.enable())
    try:
        towline()
    finally:
        profile.disable()
        profile.dump_stats(path)


if __name__ == "__main__":
    main()
