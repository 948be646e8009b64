"""Variables in the values of override policies: `${cluster.name}`, `${cluster.labels['zone']}`. Pure.

What stands between `${` and `}` is an expression in CEL over `cluster`, which must be a string; `$${` is a plain `${`. Only
strings inside values are looked at, never keys or paths. A policy says `variables: Enabled` where it wants them: without it
a value means what it means in Karmada, whatever it looks like.

    cluster.name         string
    cluster.labels       map of strings; a label that is not there is an error: `cluster.labels[?'x'].orValue('none')`
    cluster.annotations  map of strings
    cluster.provider     string, absent where the Cluster does not say: `has(cluster.region) ? cluster.region : 'none'`
    cluster.region       string, absent likewise
    cluster.zones        list of strings
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, NamedTuple

import orjson

from towline.kube import cel, cel_costs, errors
from towline.kube.cel_types import Types
from towline.kube.field_errors import FieldError, join
from towline.kube.objects import Object, annotations_of, labels_of, name_of
from towline.kube.structure import Schema

EXPRESSIONS_MAX = 64
"""Different expressions of one policy: checking one takes a millisecond."""
COST_MAX = 100_000
"""What one expression may cost for one cluster, in Kubernetes' unit: some milliseconds."""
RESULT_LENGTH_MAX = 16 * 1024
"""Characters that one expression may come to."""
_PROGRAMS_KEPT, _RESULTS_KEPT = 1_000, 4_000

_WORD = {"type": "string", "maxLength": 63}
_MAP = {"type": "object", "maxProperties": 256, "additionalProperties": {"type": "string", "maxLength": 1024}}
_CLUSTER = Schema.of(
    {
        "type": "object",
        "properties": {
            "name": _WORD,
            "labels": _MAP,
            "annotations": _MAP,
            "provider": _WORD,
            "region": _WORD,
            "zones": {"type": "array", "maxItems": 64, "items": _WORD},
        },
    }
)
"""What expressions see. The bounds are for the estimate when a policy is written; the real cluster is measured again."""


class VariableError(Exception):
    """An expression that did not come to a string. The text is for the policy's author."""


class Expression(NamedTuple):
    text: str


def facts_of(cluster: Object) -> bytes:
    """What expressions see of a Cluster, as canonical JSON: equal for clusters that look the same."""
    spec = cluster.get("spec") or {}
    facts: Object = {
        "name": name_of(cluster),
        "labels": labels_of(cluster),
        "annotations": annotations_of(cluster),
        "zones": spec.get("zones") or ([spec["zone"]] if spec.get("zone") else []),
    }
    facts |= {field: spec[field] for field in ("provider", "region") if spec.get(field)}
    return orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)


def resolved(value: Any, facts: bytes) -> Any:
    """`value` with the variables of all its strings put in; what has none is shared. Raises VariableError."""
    if isinstance(value, str):
        return _filled(value, facts) if "${" in value else value
    if isinstance(value, dict):
        return {key: resolved(item, facts) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, facts) for item in value]
    return value


def has_variables(text: str) -> bool:
    """Whether a string means something else with variables than without."""
    return "${" in text


def problems(value: Any, path: str) -> Iterator[FieldError]:
    """What is wrong with the variables of the strings in `value`, each with its path."""
    if isinstance(value, str):
        yield from _text_problems(value, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from problems(item, join(path, key))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from problems(item, f"{path}[{n}]")


def expressions(value: Any) -> Iterator[str]:
    """The expressions of all strings in `value` that can be read."""
    if isinstance(value, str):
        try:
            yield from (part.text for part in _parts(value) if isinstance(part, Expression))
        except VariableError:
            return
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from expressions(item)


def _text_problems(text: str, path: str) -> Iterator[FieldError]:
    try:
        parts = _parts(text)
    except VariableError as error:
        yield errors.invalid(path, text, str(error))
        return
    for part in parts:
        if isinstance(part, Expression):
            program = _program(part.text)
            if isinstance(program, str):
                yield errors.invalid(path, part.text, program)


def _filled(text: str, facts: bytes) -> str:
    return "".join(
        _value(part.text, facts) if isinstance(part, Expression) else part for part in _parts(text)
    )


# --- reading a string ----------------------------------------------------------------------------------------


def _parts(text: str) -> list[str | Expression]:
    """`a-${cluster.name}` -> ["a-", Expression("cluster.name")]. Raises VariableError."""
    parts: list[str | Expression] = []
    at = 0
    while (opened := text.find("${", at)) >= 0:
        if opened > at and text[opened - 1] == "$":
            parts.append(text[at : opened - 1] + "${")
            at = opened + 2
            continue
        closed = _closing(text, opened + 2)
        parts += [text[at:opened], Expression(text[opened + 2 : closed].strip())]
        at = closed + 1
    parts.append(text[at:])
    return [part for part in parts if part != ""]


def _closing(text: str, start: int) -> int:
    """Where the brace closes that was opened before `start`; braces in CEL's strings and maps do not."""
    depth, quote, at = 1, "", start
    while at < len(text):
        mark = text[at]
        if quote:
            if mark == "\\":
                at += 1
            elif mark == quote:
                quote = ""
        elif mark in "'\"":
            quote = mark
        elif mark in "{}":
            depth += 1 if mark == "{" else -1
            if not depth:
                return at
        at += 1
    raise VariableError("a variable that is not closed: write ${...}, or $${ for the text ${")


# --- expressions ---------------------------------------------------------------------------------------------


@cache
def _types() -> tuple[str, Any]:
    types = Types()
    kind = types.of(_CLUSTER)
    return kind, types.pool()


@lru_cache(maxsize=_PROGRAMS_KEPT)
def _program(text: str) -> cel.Program | str:
    """A compiled expression, or what is wrong with it."""
    if not text:
        return "a variable needs an expression, such as ${cluster.name}"
    kind, pool = _types()
    try:
        program = cel.compile(text, {"cluster": kind}, cel.STRING, messages=pool)
    except cel.CelError as error:
        return f"compilation failed: {error}"
    cost = cel_costs.cost(program.tree, {"cluster": cel_costs.SchemaSize(_CLUSTER)})
    return program if cost <= COST_MAX else f"may cost {cost}, the limit is {COST_MAX}: make it simpler"


@lru_cache(maxsize=_RESULTS_KEPT)
def _value(text: str, facts: bytes) -> str:
    program = _program(text)
    if isinstance(program, str):
        raise VariableError(f"${{{text}}}: {program}")
    cluster = orjson.loads(facts)
    if cel_costs.cost(program.tree, {"cluster": cel_costs.ValueSize([cluster])}) > COST_MAX:
        raise VariableError(f"${{{text}}}: costs more than {COST_MAX} for cluster {cluster['name']}")
    try:
        value = program.evaluate({"cluster": cluster})
    except cel.CelError as error:
        raise VariableError(f"${{{text}}}: {error}") from None
    if not isinstance(value, str):
        raise VariableError(f"${{{text}}}: must be a string")
    if len(value) > RESULT_LENGTH_MAX:
        raise VariableError(f"${{{text}}}: longer than {RESULT_LENGTH_MAX} characters")
    return value
