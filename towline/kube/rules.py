"""`x-kubernetes-validations`: the CEL rules of a CRD's schema. Pure.

A kind without rules has none of this. Rules are compiled when the CRD is checked and again at the first object of the
kind; objects are then walked along the nodes that have rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from towline.kube import cel, cel_costs, errors
from towline.kube.cel_types import Types, pool_of
from towline.kube.cel_values import shown_value
from towline.kube.cells import maps
from towline.kube.field_errors import FieldError, join, shown
from towline.kube.objects import Object
from towline.kube.structure import Schema

RULES = "x-kubernetes-validations"
NO_PATH = "<nil>"
"""How Kubernetes writes the path of a whole object."""
UNCHECKED = FieldError(
    NO_PATH,
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation",
)
EVALUATIONS_MAX = 10_000
"""Rules that one object may cause to be evaluated."""
COST_MAX, COSTS_MAX = 10_000_000, 100_000_000
"""What one rule, and all rules of a CRD, may cost at most with the largest object that the schema allows: Kubernetes' limits."""
OBJECT_COST_MAX = 2_000_000
"""What the rules may cost with one object that is there: about a tenth of a second. Kubernetes allows five times that."""
CHEAP = 1_000
"""An evaluation that costs no more with any object is not estimated again with the one that is there."""
RULES_MAX, RULES_CHARACTERS_MAX = 500, 128 * 1024
"""Rules of a CRD, and how long they are together: checking them takes some milliseconds each."""
PROGRAMS_KEPT = 2 * RULES_MAX
MESSAGE_MAX = 5 * 1024

_REASONS = ("FieldValueRequired", "FieldValueInvalid", "FieldValueForbidden", "FieldValueDuplicate")
_NAMES = ("self", "oldSelf", "oldValue")


class Rule(NamedTuple):
    """One compiled rule. `transition`: it looks at `oldSelf`; `optional`: also where there is no old value; `cost`: of one
    evaluation with the largest object."""

    source: Mapping[str, Any]
    program: cel.Program
    message: cel.Program | None
    transition: bool
    optional: bool
    cost: int


class Node(NamedTuple):
    """A node of a schema at or below which there are rules."""

    schema: Schema
    root: bool
    rules: tuple[Rule, ...]
    properties: Mapping[str, Node]
    items: Node | None
    additional: Node | None


def validator(
    schema: Schema, *, root: bool = True
) -> Callable[[Object, Object | None], list[FieldError]] | None:
    """Checks an object (and the one that it replaces) against the rules of its kind's schema. None if it has none.
    `root`: it is a whole object, with metadata."""
    if not _has_rules(schema):
        return None
    compiled: list[Node | None] = []

    def validate(new: Object, old: Object | None) -> list[FieldError]:
        if not compiled:
            compiled.append(_node(schema, root=root))
        found: list[FieldError] = []
        if compiled[0] is not None:
            _Walk(found).visit(compiled[0], new, old, "", same=False)
        return found

    return validate


def too_many(all_schemas: Iterable[Schema], path: str) -> list[FieldError]:
    """Whether the schemas of all versions of a CRD have more rules than can be checked while others wait."""
    texts = [text for schema in all_schemas for text in _texts(schema)]
    characters = sum(map(len, texts))
    if len(texts) <= RULES_MAX and characters <= RULES_CHARACTERS_MAX:
        return []
    message = f"Too many: {len(texts)} rules of {characters} characters: at most {RULES_MAX} of {RULES_CHARACTERS_MAX}"
    return [FieldError(path, "FieldValueTooMany", message)]


def _texts(schema: Schema) -> Iterator[str]:
    for source in maps(schema.node.get(RULES)):
        yield f"{source.get('rule')}{source.get('messageExpression')}"
    for _, child in _children(schema):
        yield from _texts(child)


def problems(schema: Schema, path: str) -> list[FieldError]:
    """What is wrong with the rules of a schema at `path`. The schema is structural."""
    if not _has_rules(schema):
        return []
    check = _Check([], {})
    check.visit(schema, path, root=True, fixed="", times=1)
    return [*check.found, *_too_dear(check.costs, path)]


def _has_rules(schema: Schema) -> bool:
    return bool(schema.node.get(RULES)) or any(_has_rules(child) for _, child in _children(schema))


def _children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """(path below, node), without Kubernetes' own definitions, which have no rules."""
    below = [(f".properties[{field}]", child) for field, child in schema.properties.items()]
    if schema.items is not None:
        below.append((".items", schema.items))
    if schema.additional is not None and schema.additional is not Schema.ANY:
        below.append((".additionalProperties", schema.additional))
    return ((at, child) for at, child in below if not child.definition)


# --- compiling -----------------------------------------------------------------------------------------------


def _node(schema: Schema, *, root: bool = False) -> Node | None:
    if not _has_rules(schema):
        return None
    root = root or schema.embedded
    rules = []
    for source in maps(schema.node.get(RULES)):
        rule = _compiled(schema, source, root)
        if rule is not None:
            rules.append(rule)
    properties = {field: _node(child) for field, child in schema.properties.items() if not child.definition}
    return Node(
        schema,
        root,
        tuple(rules),
        {field: child for field, child in properties.items() if child is not None},
        _node(schema.items) if schema.items is not None else None,
        _node(schema.additional)
        if schema.additional is not None and schema.additional is not Schema.ANY
        else None,
    )


def _compiled(schema: Schema, source: Mapping[str, Any], root: bool) -> Rule | None:
    """A rule of a stored CRD. One that cannot be compiled any more refuses every object, it is not left out."""
    text, said = str(source.get("rule") or "").strip(), source.get("messageExpression")
    if not text:
        return None
    optional = bool(source.get("optionalOldSelf"))
    try:
        program, transition = _program(schema, text, cel.BOOL, root=root, optional=optional)
        message = _program(schema, str(said), cel.STRING, root=root, optional=optional)[0] if said else None
    except cel.CelError as error:
        return Rule(source, cel.Program(_refusal(error)), None, False, False, 0)
    cost = max(_cost(program, schema), _cost(message, schema)) if message else _cost(program, schema)
    return Rule(source, program, message, transition, optional, cost)


def _refusal(error: cel.CelError) -> Callable[[Any], Any]:
    def refuse(_: Any) -> Any:
        raise cel.CelError(f"the rule does not compile: {error}")

    return refuse


def _program(
    schema: Schema, text: str, result: str, *, root: bool, optional: bool
) -> tuple[cel.Program, bool]:
    """(program, whether it looks at oldSelf)."""
    types = Types()
    kind = types.of(schema, root=root)
    encoded = types.encoded()
    try:
        return _compile(text, (("self", kind),), result, encoded), False
    except cel.CelError:
        if "oldSelf" not in text:
            raise
    old = cel.DYN if optional else kind
    program = _compile(text, (("self", kind), ("oldSelf", old)), result, encoded)
    if optional:
        # an optional value cannot be bound from outside; a loop over one makes it
        made = "(hasOldSelf ? optional.of(oldValue) : optional.none())"
        looped = f"[{made}].map(oldSelf, {text}\n)[0]"
        bound = (("self", kind), ("oldValue", kind), ("hasOldSelf", cel.BOOL))
        program = _compile(looped, bound, result, encoded)
    return program, True


@lru_cache(maxsize=PROGRAMS_KEPT)
def _compile(text: str, variables: tuple[tuple[str, str], ...], result: str, encoded: bytes) -> cel.Program:
    """Compiling takes milliseconds; a CRD that is written again says mostly the same, and its objects follow."""
    return cel.compile(text, dict(variables), result, messages=pool_of(encoded))


# --- the rules of a CRD --------------------------------------------------------------------------------------


class _Check(NamedTuple):
    """What is wrong, and what the expressions cost, by path."""

    found: list[FieldError]
    costs: dict[str, int]

    def visit(self, schema: Schema, path: str, *, root: bool, fixed: str, times: int) -> None:
        """`fixed`: the path of the list above whose items cannot be told apart from one version to the next. `times`: how
        many of the node an object may hold; 0 for any number, that fits a request."""
        for n, source in enumerate(maps(schema.node.get(RULES))):
            self.found.extend(self._rule(schema, source, f"{path}.{RULES}[{n}]", fixed, root, times))
        for at, child in _children(schema):
            below, more = fixed, 1
            if at == ".items":
                below = fixed if fixed or schema.list_type == "map" else path
                more = schema.node.get("maxItems") or 0
            elif at == ".additionalProperties":
                more = schema.node.get("maxProperties") or 0
            self.visit(child, path + at, root=child.embedded, fixed=below, times=times * more)

    def _rule(
        self, schema: Schema, source: Mapping[str, Any], path: str, fixed: str, root: bool, times: int
    ) -> Iterator[FieldError]:
        text, said, reason = (
            str(source.get("rule") or "").strip(),
            source.get("message"),
            source.get("reason"),
        )
        if not text:
            yield errors.required(f"{path}.rule", "rule is not specified")
            return
        if said is not None and not str(said).strip():
            yield errors.required(f"{path}.message", "message must be non-empty if specified")
        elif said and "\n" in str(said):
            yield errors.invalid(f"{path}.message", said, "message must not contain line breaks")
        elif "\n" in text and not said:
            yield errors.required(f"{path}.message", "message must be specified if rule contains line breaks")
        if reason is not None and reason not in _REASONS:
            yield errors.unsupported(f"{path}.reason", reason, _REASONS)
        if source.get("fieldPath") is not None and _target(schema, str(source["fieldPath"])) is None:
            yield errors.invalid(
                f"{path}.fieldPath", source["fieldPath"], "does not refer to a field of the schema"
            )
        optional = bool(source.get("optionalOldSelf"))
        try:
            program, transition = _program(schema, text, cel.BOOL, root=root, optional=optional)
        except cel.CelError as error:
            yield errors.invalid(f"{path}.rule", text, f"compilation failed: {error}")
        else:
            yield from self._costs(program, schema, f"{path}.rule", times)
            if transition and fixed:
                message = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {fixed}"
                yield errors.invalid(f"{path}.rule", text, message)
            if not transition and source.get("optionalOldSelf") is not None:
                message = "may not be set if oldSelf is not used in rule"
                yield errors.invalid(f"{path}.optionalOldSelf", optional, message)
        expression = source.get("messageExpression")
        if expression is None:
            return
        if not str(expression).strip():
            yield errors.required(
                f"{path}.messageExpression", "messageExpression must be non-empty if specified"
            )
            return
        try:
            program, _ = _program(schema, str(expression), cel.STRING, root=root, optional=optional)
        except cel.CelError as error:
            message = f"messageExpression compilation failed: {error}"
            yield errors.invalid(f"{path}.messageExpression", expression, message)
        else:
            yield from self._costs(program, schema, f"{path}.messageExpression", 1)

    def _costs(self, program: cel.Program, schema: Schema, path: str, times: int) -> Iterator[FieldError]:
        times = times or (cel_costs.REQUEST_BYTES - 2) // (cel_costs.smallest(schema) + 1)
        self.costs[path] = cost = _cost(program, schema) * times
        if cost > COST_MAX:
            what = "estimated rule cost" if path.endswith(".rule") else "estimated messageExpression cost"
            yield errors.forbidden(path, _over(what, cost, COST_MAX))


def _cost(program: cel.Program, schema: Schema) -> int:
    """Of one evaluation with the largest object."""
    size = cel_costs.SchemaSize(schema)
    return cel_costs.cost(program.tree, dict.fromkeys(_NAMES, size))


def _too_dear(costs: Mapping[str, int], path: str) -> Iterator[FieldError]:
    total = sum(costs.values())
    if total <= COSTS_MAX:
        return
    for at, cost in sorted(costs.items(), key=lambda item: -item[1])[:4]:
        if COSTS_MAX // 100 <= cost <= COST_MAX:  # of one above it is said already
            message = "contributes to the cost of all rules of the schema, which exceeds its limit"
            yield errors.forbidden(at, message)
    yield errors.forbidden(
        path, _over(f"{RULES} estimated rule cost total for entire OpenAPIv3 schema", total, COSTS_MAX)
    )


def _over(what: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown_factor = (
        "more than 100x" if factor > 100 else f"{factor:.6f}x" if factor < 1.5 else f"{factor:.1f}x"
    )
    advice = "say maxItems, maxProperties and maxLength where lists, maps and strings have none, or make it simpler"
    return f"{what} exceeds budget by factor of {shown_factor} ({advice})"


def _target(schema: Schema, pointer: str) -> str | None:
    """`.spec.a` or `['a b']` below the node, as the path of an error; None if there is no such field."""
    parts = re.findall(r"\.([^.\[\]]+)|\['((?:[^'\\]|\\.)*)'\]", pointer)
    if not parts or "".join(f".{a}" if a else f"['{b}']" for a, b in parts) != pointer:
        return None
    path = ""
    for plain, quoted in parts:
        field = plain or re.sub(r"\\(.)", r"\1", quoted)
        child = schema.properties.get(field) or (None if schema.properties else schema.additional)
        if child is None:
            return None
        schema, path = child, join(path, field)
    return path


# --- evaluating ----------------------------------------------------------------------------------------------


class _Walk:
    """One object on its way along the nodes that have rules."""

    def __init__(self, found: list[FieldError]) -> None:
        self._found = found
        self._left = EVALUATIONS_MAX
        self._budget = OBJECT_COST_MAX

    def visit(self, node: Node, value: Any, old: Any, path: str, *, same: bool) -> None:
        """`old` None: there is nothing to compare with. `same`: something above is unchanged, so what was wrong before
        may stay wrong."""
        if value is None:
            return
        same = same or (old is not None and value == old)
        if node.rules:
            self._evaluate(node, value, old, path, same)
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for field, item in value.items():
                child = node.properties.get(field)
                if child is not None:
                    self.visit(child, item, before.get(field), join(path, field), same=same)
                elif node.additional is not None and field not in node.schema.properties:
                    self.visit(node.additional, item, before.get(field), f"{path}[{field}]", same=same)
        elif isinstance(value, list) and node.items is not None:
            keyed = _by_key(node.schema, old)
            for index, item in enumerate(value):
                self.visit(
                    node.items, item, keyed.get(_key(node.schema, item)), f"{path}[{index}]", same=same
                )

    def _evaluate(self, node: Node, value: Any, old: Any, path: str, same: bool) -> None:
        bindings = {"self": shown_value(node.schema, value, root=node.root)}
        if any(rule.transition for rule in node.rules):
            before = None if old is None else shown_value(node.schema, old, root=node.root)
            bindings |= {"oldSelf": before, "oldValue": before, "hasOldSelf": old is not None}
        bound = cel.Bound(bindings)
        for rule in node.rules:
            if rule.transition and old is None and not rule.optional:
                continue
            self._left -= 1
            if self._left < 0:
                return self._exhausted(path or NO_PATH) if self._left == -1 else None
            self._budget -= rule.cost if rule.cost <= CHEAP else _present_cost(rule, bindings)
            if self._budget < 0:
                return self._exhausted(path or NO_PATH)
            error = _failure(rule, bound, value, path or NO_PATH)
            if error is not None and (rule.transition or not same):
                self._found.append(error)
        return None

    def _exhausted(self, path: str) -> None:
        """Said once; whatever follows is not evaluated."""
        message = "the rules cost more than one object may, no further ones are evaluated"
        self._found.append(FieldError(path, "FieldValueInvalid", f"Invalid value: {message}"))
        self._left = -1


def _present_cost(rule: Rule, bindings: Mapping[str, Any]) -> int:
    sizes = {name: cel_costs.ValueSize([value]) for name, value in bindings.items()}
    spent = cel_costs.cost(rule.program.tree, sizes)
    return spent if rule.message is None else spent + cel_costs.cost(rule.message.tree, sizes)


def _failure(rule: Rule, bound: cel.Bound, value: Any, path: str) -> FieldError | None:
    source = rule.source
    said = str(source.get("message") or "").strip()
    named = said or str(source.get("rule")).strip()
    try:
        if rule.program.evaluate(bound) is True:
            return None
    except cel.CelError as error:
        return FieldError(path, "FieldValueInvalid", f"Invalid value: {error} evaluating rule: {named}")
    detail = _message(rule, bound) or said or f"failed rule: {named}"
    reason = str(source.get("reason") or "FieldValueInvalid")
    where = str(source.get("fieldPath") or "")
    if where:
        field = where if where.startswith("[") else where.removeprefix(".")
        path = field if path == NO_PATH else f"{path}{where}"
    if reason == "FieldValueForbidden":
        return FieldError(path, reason, f"Forbidden: {detail}")
    if reason == "FieldValueRequired":
        return FieldError(path, reason, f"Required value: {detail}")
    if reason == "FieldValueDuplicate":
        return FieldError(path, reason, f"Duplicate value: {shown(value)}")
    shows = "" if isinstance(value, dict | list) else f"{shown(value)}: "
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {shows}{detail}")


def _message(rule: Rule, bound: cel.Bound) -> str:
    """What messageExpression says; "" if it fails or says nothing that fits a line."""
    if rule.message is None:
        return ""
    try:
        said = str(rule.message.evaluate(bound)).strip()
    except cel.CelError:
        return ""
    return said if "\n" not in said and len(said.encode()) <= MESSAGE_MAX else ""


def _by_key(schema: Schema, items: Any) -> Mapping[Any, Any]:
    """The items of a list with keys, by key; of other lists nothing can be told apart."""
    if schema.list_type != "map" or not isinstance(items, list):
        return {}
    return {_key(schema, item): item for item in items}


def _key(schema: Schema, item: Any) -> Any:
    if schema.list_type != "map" or not isinstance(item, dict):
        return None
    return tuple(shown(item.get(key)) for key in schema.list_map_keys)
