"""The JSONPaths of printer columns and scale subresources: `.status.conditions[?(@.type=="Ready")].status`.

Own code: jsonpath-ng takes a millisecond to read a path and 17 µs to look it up (here 0.1 and 2.6), and
speaks another dialect. Kubernetes allows only this small part of JSONPath in a CRD.

Understood: `.a.b`, `['a.b']`, `.a\\.b`, `[0]`, `[-1]`, `[*]`, `.*`, `[?(@.a.b=="x")]` (also `!=`, and
numbers, booleans), an optional leading `$` and enclosing braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_STEP = re.compile(
    r"""
      \.?\[\?\(\s*@(?P<subject>[^=!<>()]*?)\s*(?:(?P<operator>==|!=)\s*(?P<literal>"[^"]*"|'[^']*'|[^\s()]+)\s*)?\)\]
    | \.?\[(?P<quote>['"])(?P<quoted>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\]
    | \.?\[(?P<index>-?[0-9]+)\]
    | \.?\[(?P<all>\*)\]
    | \.(?P<every>\*)
    | \.?(?P<field>(?:\\.|[^.\[\]\\])+)
    """,
    re.VERBOSE,
)


class PathError(ValueError):
    """Not a JSONPath of the kind that Kubernetes takes in printer columns."""


def find(path: str, obj: Any) -> list[Any]:
    """All values that `path` selects in `obj`, in order; empty when something on the way is missing. Raises
    PathError."""
    values = [obj]
    for step in compile_path(path):
        values = [found for value in values for found in step(value)]
    return values


def first(path: str, obj: Any, default: Any = None) -> Any:
    """The first value that `path` selects, or `default`. Raises PathError."""
    found = find(path, obj)
    return found[0] if found else default


def fields_of(path: str) -> tuple[str, ...]:
    """The field names of a plain path (`.spec.replicas` -> ("spec", "replicas")), for writing. Raises
    PathError where the path is not plain."""
    names: list[str] = []
    for matched in _steps(path):
        name = matched["field"] if matched["field"] is not None else matched["quoted"]
        if name is None:
            raise PathError(f"not a plain path: {path!r}")
        names.append(re.sub(r"\\(.)", r"\1", name))
    return tuple(names)


@lru_cache(maxsize=1024)
def compile_path(path: str) -> tuple[Step, ...]:
    """`path` as functions from a value to the values below it. Raises PathError."""
    return tuple(_step(matched) for matched in _steps(path))


def _steps(path: str) -> Iterator[re.Match[str]]:
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = text.removeprefix("$")
    at = 0
    while at < len(text):
        if text[at:] == ".":  # `.` alone is the whole object
            return
        matched = _STEP.match(text, at)
        if matched is None:
            raise PathError(f"cannot read JSONPath {path!r} at {text[at : at + 20]!r}")
        yield matched
        at = matched.end()


def _step(matched: re.Match[str]) -> Step:
    if matched["subject"] is not None:
        return _filter(matched["subject"], matched["operator"], matched["literal"])
    if matched["all"] or matched["every"]:
        return _children
    if matched["index"] is not None:
        return _item(int(matched["index"]))
    return _field(
        re.sub(r"\\(.)", r"\1", matched["field"] if matched["quoted"] is None else matched["quoted"])
    )


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _item(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _filter(subject: str, operator: str | None, literal: str | None) -> Step:
    wanted = _literal(literal) if literal is not None else None

    def holds(item: Any) -> bool:
        found = find(subject, item)
        if operator is None:
            return bool(found)
        if operator == "!=":
            return bool(found) and found[0] != wanted
        return bool(found) and found[0] == wanted

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from (item for item in value if holds(item))

    return step


def _literal(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise PathError(f"not a value to compare with: {text!r}") from None
