"""The options of a list, a watch or the delete of a collection: what its query says, and what does not go together. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from towline.hub.api import paths, status
from towline.kube import errors
from towline.kube.schemas import FieldError

Initial = Literal["", "plain", "bookmarked"]
"""Which state a watch begins with: none, all objects, or all objects and a bookmark behind them."""

_MATCH = "resourceVersionMatch"


def check(query: Mapping[str, str], *, watch: bool = False) -> None:
    """Raises 400 for what is no number, 422 for options that exclude each other."""
    paths.number(query, "timeoutSeconds")
    if _MATCH not in query and "sendInitialEvents" not in query:
        return
    found = [*(_of_watch if watch else _of_list)(query)]
    if found:
        raise status.all_invalid("ListOptions", found)


def revision(query: Mapping[str, str]) -> int:
    """The query's resourceVersion; 0 for none."""
    return paths.number(query, "resourceVersion") or 0


def initial_events(query: Mapping[str, str]) -> Initial:
    """Of a query that `check` lets pass."""
    asked = query.get("sendInitialEvents")
    wanted = paths.flag(query, "sendInitialEvents") if asked is not None else not revision(query)
    if not wanted:
        return ""
    return "bookmarked" if paths.flag(query, "allowWatchBookmarks") else "plain"


def _of_list(query: Mapping[str, str]) -> list[FieldError]:
    match, found = query.get(_MATCH), []
    if match:
        if not query.get("resourceVersion"):
            found.append(_forbidden("is forbidden unless resourceVersion is provided"))
        if query.get("continue"):
            found.append(_forbidden("is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            found.append(errors.unsupported(_MATCH, match, ("Exact", "NotOlderThan", "")))
        if match == "Exact" and query.get("resourceVersion") == "0":
            found.append(_forbidden('"Exact" is forbidden for resourceVersion "0"'))
    if "sendInitialEvents" in query:
        found.append(errors.forbidden("sendInitialEvents", "is forbidden for list"))
    return found


def _of_watch(query: Mapping[str, str]) -> list[FieldError]:
    match, found = query.get(_MATCH), []
    initial = "sendInitialEvents" in query
    if initial and match != "NotOlderThan":
        told = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        found.append(errors.forbidden(_MATCH, told))
    if match:
        if not initial:
            found.append(_forbidden("is forbidden for watch unless sendInitialEvents is provided"))
        if match != "NotOlderThan":
            found.append(errors.unsupported(_MATCH, match, ("NotOlderThan",)))
        if query.get("continue"):
            found.append(_forbidden("is forbidden when continue is provided"))
    return found


def _forbidden(message: str) -> FieldError:
    return errors.forbidden(_MATCH, f"{_MATCH} {message}")
