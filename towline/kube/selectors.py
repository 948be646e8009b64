"""Label and field selectors: the strings of `-l` and `--field-selector`, and LabelSelector objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}\Z")
_VALUE = re.compile(rf"({_NAME})?\Z")
_TOKEN = re.compile(r"\s*(?P<symbol>!=|==|=|!|\(|\)|,|>|<)|\s*(?P<word>[^\s!=(),<>]+)")
_FIELD_TERM = re.compile(r"((?:(?!!?=).)+)(!=|==|=)((?:\\[,=\\]|[^\\,=])*)\Z", re.DOTALL)
_OBJECT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


class SelectorError(ValueError):
    """A selector that cannot be read; the message says what and where."""


class Requirement(NamedTuple):
    """One condition on one label. `operator`: "in", "notin", "exists", "!" (absent), ">", "<"."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        present = self.key in labels
        if self.operator == "in":
            return present and labels[self.key] in self.values
        if self.operator == "notin":
            return not present or labels[self.key] not in self.values
        if self.operator == "exists":
            return present
        if self.operator == "!":
            return not present
        if not present:
            return False
        try:
            left, right = int(labels[self.key]), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator == ">" else left < right

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        if self.operator == "in" and len(self.values) == 1:
            return f"{self.key}={values}"
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({values})"
        if self.operator == "exists":
            return self.key
        return f"!{self.key}" if self.operator == "!" else f"{self.key}{self.operator}{values}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; none at all matches everything. `nothing` matches nothing."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        present = labels or {}
        return all(requirement.matches(present) for requirement in self.requirements)

    def __bool__(self) -> bool:
        """Whether this selects less than everything."""
        return self.nothing or bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


def parse_query(text: str | None) -> Selector:
    """A selector in kubectl's words: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Empty selects everything.
    `c!=d` also holds where c is absent. Raises SelectorError."""
    if not text or not text.strip():
        return EVERYTHING
    tokens = _Tokens(text)
    requirements: list[Requirement] = []
    while True:
        requirements.append(_requirement(tokens))
        separator = tokens.take()
        if separator is None:
            return Selector(tuple(requirements))
        if separator != ",":
            raise SelectorError(f"found {separator!r}, expected: ',' or end of the selector {text!r}")


def from_object(selector: Mapping[str, Any] | None) -> Selector:
    """A LabelSelector object. None selects nothing, an empty one everything, as in Kubernetes. Raises
    SelectorError."""
    if selector is None:
        return NOTHING
    requirements = [
        Requirement(_valid_key(key), "in", frozenset({_valid_value(value, key)}))
        for key, value in sorted((selector.get("matchLabels") or {}).items())
    ]
    for expression in selector.get("matchExpressions") or []:
        key = _valid_key(expression.get("key") or "")
        operator = _OBJECT_OPERATORS.get(expression.get("operator") or "")
        values = frozenset(_valid_value(value, key) for value in expression.get("values") or [])
        if operator is None:
            raise SelectorError(f"{expression.get('operator')!r} is not a valid label selector operator")
        if operator in ("in", "notin") and not values:
            raise SelectorError(f"key {key!r}: for 'in', 'notin' operators, values set can't be empty")
        if operator in ("exists", "!") and values:
            raise SelectorError(f"key {key!r}: values set must be empty for exists and does not exist")
        requirements.append(Requirement(key, operator, values))
    return Selector(tuple(requirements))


class FieldRequirement(NamedTuple):
    """One condition on one field: equal, or not."""

    path: str
    value: str
    equal: bool


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All requirements must hold."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, read: Callable[[str], str]) -> bool:
        """`read` gives the object's value of a path such as `metadata.name`, "" where absent."""
        return all((read(r.path) == r.value) is r.equal for r in self.requirements)

    def equal_to(self, path: str) -> str | None:
        """The value that `path` must have, where the selector says so: lets a list go straight to one
        object."""
        return next((r.value for r in self.requirements if r.equal and r.path == path), None)

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __iter__(self) -> Iterator[FieldRequirement]:
        return iter(self.requirements)


def parse_fields(text: str | None) -> FieldSelector:
    """A field selector: `metadata.name=a,status.phase!=Running`. `\\,`, `\\=` and `\\\\` stand for themselves
    in values, and nothing else is escaped; spaces count. Raises SelectorError."""
    requirements: list[FieldRequirement] = []
    for part in re.findall(r"(?:\\.?|[^,\\])+", text or "", re.DOTALL):
        matched = _FIELD_TERM.match(part)
        if matched is None:
            raise SelectorError(f"invalid selector: {text!r}; can't understand {part!r}")
        value = re.sub(r"\\([,=\\])", r"\1", matched[3])
        requirements.append(FieldRequirement(matched[1], value, matched[2] != "!="))
    return FieldSelector(tuple(requirements))


# --- reading ------------------------------------------------------------------------------------------------


class _Tokens:
    def __init__(self, text: str) -> None:
        self.text = text
        self._at = 0

    def peek(self) -> str | None:
        at = self._at
        token = self.take()
        self._at = at
        return token

    def take(self) -> str | None:
        matched = _TOKEN.match(self.text, self._at)
        if matched is None:
            return None
        self._at = matched.end()
        return matched["symbol"] or matched["word"]


def _requirement(tokens: _Tokens) -> Requirement:
    token = tokens.take()
    if token == "!":
        return Requirement(_valid_key(tokens.take() or ""), "!")
    key = _valid_key(token or "")
    following = tokens.peek()
    if following in (None, ","):
        return Requirement(key, "exists")
    operator = tokens.take()
    if operator in ("=", "==", "!="):
        value = ""
        if tokens.peek() not in (None, ","):
            value = _valid_value(tokens.take() or "", key)
        return Requirement(key, "notin" if operator == "!=" else "in", frozenset({value}))
    if operator in ("in", "notin"):
        return Requirement(key, operator, _values(tokens, key))
    if operator in (">", "<"):
        bound = tokens.take() or ""
        if not re.fullmatch(r"-?[0-9]+", bound):
            raise SelectorError(f"for 'Gt', 'Lt' operators, the value must be an integer: {bound!r}")
        return Requirement(key, operator, frozenset({bound}))
    raise SelectorError(
        f"unable to parse requirement: found {operator!r}, expected: in, notin, =, ==, !=, >, <"
    )


def _values(tokens: _Tokens, key: str) -> frozenset[str]:
    if tokens.take() != "(":
        raise SelectorError(f"expected '(' after the operator of {key!r}")
    values: set[str] = set()
    current = ""
    while True:
        token = tokens.take()
        if token == ")":
            values.add(_valid_value(current, key))
            return frozenset(values)
        if token == ",":
            values.add(_valid_value(current, key))
            current = ""
        elif token is None or current or not _VALUE.match(token):
            raise SelectorError(f"found {token!r}, expected: ',' or ')' in the values of {key!r}")
        else:
            current = token


def _valid_key(key: str) -> str:
    if not isinstance(key, str) or not _KEY.match(key):
        raise SelectorError(f"invalid label key {key!r}")
    return key


def _valid_value(value: str, key: str) -> str:
    if not isinstance(value, str) or not _VALUE.match(value):
        raise SelectorError(f"invalid label value {value!r} at key {key!r}")
    return value
