"""CEL: compiles and evaluates the expressions of CRDs and webhooks.

The language and its standard extensions are Google's implementation; here are the functions that Kubernetes adds.
An evaluation ends: the engine allows 10,000 steps of its loops in one, regular expressions take linear time, and an
expression is at most EXPRESSION_MAX characters with 32 levels of nesting. What a step may cost depends on the values:
`cel_costs` estimates it from the program's tree, and whoever evaluates asks it first.

Not here, and therefore refused as undeclared functions: `indexOf` and `lastIndexOf` of lists, `find` and `findAll`, the
named formats (`format.dns1123Label()`), semver, `string()` of an IP or CIDR, and the authorizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from towline.kube import cel_functions

EXPRESSION_MAX = 16 * 1024
"""Characters of an expression."""

DYN, BOOL, INT, DOUBLE, STRING, BYTES = "dyn", "bool", "int", "double", "string", "bytes"
TIMESTAMP, DURATION = "google.protobuf.Timestamp", "google.protobuf.Duration"
_EXTENSIONS = ("sets", "strings", "lists", "optional", "two-var-comprehensions")


class CelError(Exception):
    """An expression that does not compile, or did not come to a value. The text is for its author."""


class Bound:
    """Values of variables that several programs look at: the engine converts them once."""

    __slots__ = ("activation",)

    def __init__(self, bindings: Mapping[str, Any]) -> None:
        self.activation = _running(tuple(sorted(bindings))).Activation(data=dict(bindings))


class Program:
    """A compiled expression. `tree` is its syntax tree, for `cel_costs.cost`."""

    __slots__ = ("_run", "tree")

    def __init__(self, run: Callable[[Mapping[str, Any] | Bound], Any], tree: bytes = b"") -> None:
        self._run = run
        self.tree = tree

    def evaluate(self, bindings: Mapping[str, Any] | Bound) -> Any:
        """The value of the expression, in Python's types. Raises CelError."""
        return self._run(bindings)


def compile(
    expression: str, variables: Mapping[str, str], result: str = DYN, *, messages: Any = None
) -> Program:
    """`expression` over `variables` (name -> CEL type), which must be of type `result`. `messages`: a descriptor pool with
    the types of objects with fields (`cel_types`), for the check only. Raises CelError."""
    if len(expression) > EXPRESSION_MAX:
        raise CelError(f"the expression is longer than {EXPRESSION_MAX} characters")
    try:
        checked = _environment(variables, running=False, messages=messages).compile(expression)
        given = str(checked.return_type().name()).lower()
        if result != DYN and given not in (result, DYN):
            raise CelError(f"must evaluate to {result}, not to {given}")
        ready = _running(tuple(sorted(variables))).compile(expression, disable_check=True)
    except (RuntimeError, ValueError, TypeError) as error:
        raise CelError(_plain(str(error))) from None
    return Program(lambda bindings: _evaluate(ready, bindings), checked.serialize())


def _evaluate(ready: Any, bindings: Mapping[str, Any] | Bound) -> Any:
    bound = bindings if isinstance(bindings, Bound) else Bound(bindings)
    try:
        value = ready.eval(activation=bound.activation)
        failed = value.type().name() == "ERROR"
        plain = value.value() if failed else value.plain_value()
    except (RuntimeError, ValueError, TypeError) as error:
        raise CelError(_plain(str(error))) from None
    if failed:
        raise CelError(_plain(str(plain)))
    return plain


@cache
def _running(variables: tuple[str, ...]) -> Any:
    return _environment(dict.fromkeys(variables, DYN), running=True)


def _environment(variables: Mapping[str, str], *, running: bool, messages: Any = None) -> Any:
    """Checking knows Kubernetes' own types (an IP is no map); running, their values are maps."""
    from cel_expr_python import cel  # 40 MB and 70 ms that only who has expressions pays

    lines = ["name: kubernetes", "extensions:", *(f"- name: {name}" for name in _EXTENSIONS)]
    functions = []
    for name, overloads in cel_functions.by_name().items():
        functions.append(
            cel.FunctionDecl(
                name,
                [
                    cel.Overload(
                        f"{name}_{n}",
                        return_type=_type(cel, one.result, running),
                        parameters=[_type(cel, parameter, running) for parameter in one.parameters],
                        is_member=one.member,
                        **({"impl": one.call} if running else {}),
                    )
                    for n, one in enumerate(overloads)
                ],
            )
        )
    return cel.NewEnv(
        descriptor_pool=messages,
        config=cel.NewEnvConfigFromYaml("\n".join(lines) + "\n"),
        variables={name: cel.Type(kind) for name, kind in variables.items()},
        functions=functions,
    )


def _type(cel: Any, name: str, running: bool) -> Any:
    return cel.Type("map<dyn, dyn>" if running and name in cel_functions.TYPES else name)


def _plain(message: str) -> str:
    """The engine's first line without its codes: `INVALID_ARGUMENT: ERROR: <input>:1:5: what [INVALID_ARGUMENT]`."""
    line = message.partition("\n")[0]
    code, colon, said = line.partition(": ")
    if not colon or not code.replace("_", "").isupper():
        return line
    return said.removesuffix(f" [{code}]").removeprefix("ERROR: ").strip()
