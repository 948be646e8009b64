"""How many cases property tests try: a number that suits `make test`, and many more with TOWLINE_NIGHTLY=1."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

NIGHTLY = os.environ.get("TOWLINE_NIGHTLY") == "1"
NIGHTLY_TIMES = 50


def cases(count: int, **options: Any) -> settings:
    """Settings for `count` examples, fifty times as many in a nightly run. No example is late: machines are."""
    return settings(max_examples=count * (NIGHTLY_TIMES if NIGHTLY else 1), deadline=None, **options)
