"""An explanation as text: the answer first, then how it came about. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ROWS_MAX = 40
"""How many clusters the table shows; `-o json` has all."""
NAMES_MAX = 12
"""How many clusters a line names."""
ITEMS_MAX = 20
"""How many lines a list of reasons takes."""
LABEL = 11
"""Width of the words at the left."""


def explanation(status: Mapping[str, Any]) -> str:
    """The status of a PlacementExplanation."""
    lines = [status["summary"], *([status["next"]] if status.get("next") else []), ""]
    lines += _labelled("Moves", [_move(row) for row in status.get("moves") or ()])
    lines += _policy(status.get("policy") or {})
    lines += _labelled(
        "Overrides", [line for row in status.get("overrides") or () for line in _overrides(row)]
    )
    decision, binding = status.get("decision"), status.get("binding") or {}
    if decision:
        lines += _decision(decision, binding)
    failed = binding.get("notApplied") or {}
    lines += _labelled("Not applied", _cut([f"{name}: {why}" for name, why in failed.items()]))
    if binding.get("suspension"):
        lines += _labelled("Suspended", reasons(binding["suspension"]))
    lines += _since(status.get("since") or {}, decision is not None)
    lines += _labelled("Withheld", status.get("withheld") or ())
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be, as kubectl's; the last one is as it is."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    return ["   ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows]


_MOVES = {
    "Leaves": "leaves {}",
    "ToLeave": "is to leave {}",
    "ToReturn": "is to return to {}",
    "Full": "{} is full",
    "Failed": "{} is avoided",
}


def _move(row: Mapping[str, Any]) -> str:
    what = _MOVES.get(row["state"], row["state"] + " {}").format(row["cluster"])
    when = {"Leaves": "grace until", "Full": "until", "Failed": "until"}.get(row["state"], "at")
    timed = f" ({when} {row['at']})" if row.get("at") else ""
    return f"{what}{timed}: {row['why']}"


def _policy(policy: Mapping[str, Any]) -> Iterator[str]:
    name = policy.get("name")
    considered = {row["policy"]: row for row in policy.get("considered") or ()}
    told = [f"{name}{_rank(considered.get(name) or {})}" if name else "none"]
    if policy.get("gone"):
        told.append(policy["gone"])
    for row in considered.values():
        if row["policy"] != name:
            why = f": {row['why']}" if row.get("why") else ""
            told.append(f"{row['policy']}{_rank(row)} {row['verdict']}{why}")
    others = policy.get("others") or ()
    if not name:
        told += [f"{row['policy']} {row['why']}" for row in others]
    elif others:
        told.append(f"{policy['othersCount']} more select other objects")
    if policy:
        yield from _labelled("Policy", told)


def _rank(row: Mapping[str, Any]) -> str:
    by = {1: "by kind", 2: "by labels", 3: "by name"}.get(row.get("specificity") or 0)
    if by is None:
        return ""
    priority = row.get("priority")
    return f" (priority {priority}, {by})" if priority is not None else f" ({by})"


def _overrides(row: Mapping[str, Any]) -> Iterator[str]:
    where = listed([{"name": name} for name in row["clusters"]])
    for rule in row["rules"]:
        yield f"{where}: {rule['policy']} {rule['rule']} ({', '.join(rule['overriders']) or 'nothing'})"


# --- the decision --------------------------------------------------------------------------------------------


def _decision(decision: Mapping[str, Any], binding: Mapping[str, Any]) -> Iterator[str]:
    at = str(decision.get("at") or "")
    when = f"{at}, revision {decision['revision']}" if "revision" in decision else f"{at} (not on record)"
    cause = f", because: {decision['cause']}" if decision.get("cause") else ""
    placed = binding.get("placedAt") or at
    told = [f"{when}{cause}", *([f"placed where it is: {placed}"] if placed != at else [])]
    if decision["outcome"] != "Success":
        told.append(f"{decision['outcome']}: {decision['message']}")
    yield from _labelled("Decided", told)
    targets = {row["name"]: row.get("replicas") or 0 for row in binding.get("targets") or ()}
    terms = decision["terms"]
    for n, term in enumerate(terms):
        used = n == (len(terms) - 1 if decision["outcome"] == "Success" else 0)
        if term.get("affinity"):
            failed = f" failed: {term['error']}" if term.get("error") else ""
            yield from _labelled("Affinity", [f"{term['affinity']}{failed or ('' if used else ' failed')}"])
        elif term.get("error"):
            yield from _labelled("Failed", [term["error"]])
        yield ""
        yield from _clusters(term["clusters"], targets if used else {})
        yield ""
        for part in ("selection", "division"):
            if term.get(part):
                yield from _labelled(part.capitalize(), reasons(term[part]))


def _clusters(clusters: Mapping[str, Mapping[str, Any]], targets: Mapping[str, int]) -> list[str]:
    """Targets first, then those that can take it, then those that are refused."""
    rows = sorted(clusters.items(), key=lambda at: (at[0] not in targets, "filter" in at[1], at[0]))
    room = any("available" in row for row in clusters.values())
    heads = ["CLUSTER", "REPLICAS", "SCORE", *(["ROOM", "FROM"] if room else []), "VERDICT"]
    cells = [heads]
    for name, row in rows[:ROWS_MAX]:
        shown = [_copies(targets, name), str(row.get("score", ""))]
        if room:
            shown += [_room(row.get("available")), str(row.get("availableFrom", ""))]
        cells.append([name, *shown, _verdict(row, name in targets)])
    lines = table(cells)
    if len(rows) > ROWS_MAX:
        lines.append(f"and {len(rows) - ROWS_MAX} more: -o json shows all")
    return lines


def _copies(targets: Mapping[str, int], name: str) -> str:
    return "" if name not in targets else str(targets[name] or "copy")


def _room(available: int | None) -> str:
    if available is None:
        return ""
    return "unlimited" if available >= (1 << 31) - 1 else str(available)


def _verdict(row: Mapping[str, Any], target: bool) -> str:
    if "filter" in row:
        why = str(row["message"]).removeprefix("cluster(s) ").removeprefix("cluster ")
        return f"{row['filter']}: {why}"
    return "chosen" if target else "not chosen"


def reasons(value: Any) -> list[str]:
    """Reasons as lines: whoever decides adds keys as it likes. Short ones share a line; the long are cut."""
    if isinstance(value, Mapping):
        short = [f"{key} {flat}" for key, child in value.items() if (flat := _flat(child)) is not None]
        lines = [", ".join(_cut(short))] if short else []
        for key, child in value.items():
            if _flat(child) is None:
                lines += [f"{key}:", *(f"  {line}" for line in reasons(child))]
        return lines
    if isinstance(value, list | tuple):
        lines = []
        for item in value[:ITEMS_MAX]:
            first, *rest = reasons(item) or ["none"]
            lines += [first, *(f"  {line}" for line in rest)]
        return lines + ([f"and {len(value) - ITEMS_MAX} more"] if len(value) > ITEMS_MAX else [])
    return [str(_flat(value))]


def _cut(words: list[str]) -> list[str]:
    more = len(words) - NAMES_MAX
    return words if more <= 0 else [*words[:NAMES_MAX], f"and {more} more"]


def _flat(value: Any) -> str | None:
    """A value that fits into a line; None for what does not."""
    if isinstance(value, Mapping):
        if len(value) > 8 or any(isinstance(child, Mapping | list | tuple) for child in value.values()):
            return None
        return " ".join(f"{key}={_flat(child)}" for key, child in value.items()) or "none"
    if isinstance(value, list | tuple):
        if len(value) > 8 or any(isinstance(child, Mapping | list | tuple) for child in value):
            return None
        return " ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _since(since: Mapping[str, Any], decided: bool) -> Iterator[str]:
    if not decided:
        return
    told: list[str] = [since["unknown"]] if since.get("unknown") else []
    told += since.get("differences") or ()
    if since.get("same"):
        told.append("nothing that counts has changed: it would be decided the same now")
    told += since.get("stays") or ()
    for field, words in (("now", "about to go to"), ("fresh", "a reschedule would give")):
        if field in since:
            told.append(f"{words} {listed(since[field])}")
    yield from _labelled("Since then", told)


def listed(targets: Sequence[Mapping[str, Any]]) -> str:
    """`m1 (2), m2 (1)`; not more than a reader takes in."""
    shown = [
        f"{row['name']} ({row['replicas']})" if row.get("replicas") else str(row["name"])
        for row in targets[:NAMES_MAX]
    ]
    more = [f"{len(targets) - NAMES_MAX} more"] if len(targets) > NAMES_MAX else []
    return ", ".join([*shown, *more]) or "no cluster"


def _labelled(label: str, lines: Sequence[str]) -> Iterator[str]:
    for n, line in enumerate(lines):
        yield f"{label if n == 0 else '':<{LABEL}} {line}"
