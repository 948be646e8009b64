"""Times for people. Pure."""

from __future__ import annotations

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def age(seconds: float) -> str:
    """As `kubectl get` tells ages, in two units at most: 45s, 3m, 2h15m, 6d4h."""
    left = max(0, int(seconds))
    for at, (size, unit) in enumerate(_UNITS):
        if left >= size:
            more = left % size
            told = f"{left // size}{unit}"
            if left // size < 10 and at + 1 < len(_UNITS) - 1:
                smaller, its_unit = _UNITS[at + 1]
                if more >= smaller:
                    told += f"{more // smaller}{its_unit}"
            return told
    return "0s"


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns as kubectl aligns them; the first row is the head."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
