"""YAML that somebody keeps as text in an object: parsed, and written again so that what nobody changed means the same.

The versions of YAML do not agree on what `no`, `010`, `1:30` or `2026-01-01` is. Such words stay the text that they are
and are written without quotes again; only what JSON has too becomes a number, a boolean or null.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

TEXT_LENGTH_MAX = 256 * 1024
"""Characters: reading this much takes some tenths of a second."""

_TAG = "tag:yaml.org,2002:"
_JSON_WORDS = {
    "bool": re.compile("true|false"),
    "int": re.compile(r"-?(0|[1-9][0-9]{0,17})"),
    "float": re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+([eE][-+]?[0-9]+)?"),
    "timestamp": re.compile(r"(?!)"),
}


class YamlError(ValueError):
    """Text that is not YAML; the message says where."""


class _Word(str):
    """A word without quotes that JSON has no type for. `tag` is what YAML 1.1 takes it for."""

    tag: str

    def __new__(cls, text: str, tag: str) -> _Word:
        word = super().__new__(cls, text)
        word.tag = tag
        return word


def parse(text: str) -> Any:
    """The one document in `text`. Raises YamlError."""
    if len(text) > TEXT_LENGTH_MAX:
        raise YamlError(f"is longer than {TEXT_LENGTH_MAX} characters")
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1} column {mark.column + 1}" if mark else ""
        raise YamlError(f"is not YAML: {error.problem or error.context}{where}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise YamlError(f"is not YAML: {error}") from None


def encode(value: Any) -> str:
    """`value` in block style, keys in their order. Raises YamlError."""
    try:
        text: str = yaml.dump(
            value, Dumper=_Dumper, default_flow_style=False, sort_keys=False, allow_unicode=True
        )
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlError(f"cannot be written as YAML: {error}") from None
    return text


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Keys are text, as in JSON: a pointer finds `80:` by `/80`."""
        mapping = super().construct_mapping(node, deep)
        return {key if isinstance(key, str) else _key(key): value for key, value in mapping.items()}


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    pass


def _read(loader: Any, node: Any) -> Any:
    kind = node.tag.removeprefix(_TAG)
    if _JSON_WORDS[kind].fullmatch(node.value):
        return getattr(yaml.constructor.SafeConstructor, f"construct_yaml_{kind}")(loader, node)
    return _Word(node.value, node.tag)


def _key(key: Any) -> _Word:
    kind = {bool: "bool", int: "int", float: "float"}.get(type(key), "null")
    return _Word("null" if key is None else str(key).lower(), _TAG + kind)


def _write_word(dumper: Any, word: _Word) -> Any:
    return dumper.represent_scalar(word.tag, str(word))


def _write_text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar(_TAG + "str", text, style="|" if "\n" in text else None)


for _kind in _JSON_WORDS:
    _Loader.add_constructor(_TAG + _kind, _read)
_Dumper.add_representer(_Word, _write_word)
_Dumper.add_representer(str, _write_text)
