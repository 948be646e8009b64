"""The seven overriders: how an override policy changes an object on its way to a cluster (Karmada 1.3). Pure.

Nothing is changed in place; what an overrider leaves alone is shared with the object that was given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from towline.kube import images, names, yaml_text
from towline.kube.cells import at, maps, table
from towline.kube.objects import Object, name_of, namespace_of, with_metadata
from towline.kube.patches import PatchError, json_patch, value_at
from towline.kube.variables import VariableError
from towline.kube.variables import resolved as with_variables

_TEMPLATE = ("spec", "template", "spec")
_POD_SPECS: Mapping[str, Sequence[str]] = {
    "Pod": ("spec",),
    **dict.fromkeys(("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"), _TEMPLATE),
}
"""Where the pod's spec is, in kinds of these names of whatever group: several operators have a StatefulSet of their own. Only
`containers` count, never `initContainers`."""


class OverrideError(Exception):
    """A change that cannot be made. `path` is the overrider's in its policy, `why` is for the policy's author."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


def changed(obj: Object, overriders: Mapping[str, Any], path: str) -> Object:
    """`obj` with all overriders carried out, in Karmada's order. Raises OverrideError with the path below `path`."""
    for field, change in _OVERRIDERS.items():
        for n, overrider in enumerate(maps(overriders.get(field))):
            try:
                after = change(obj, overrider)
                _check(after, obj)
            except PatchError as error:
                raise OverrideError(f"{path}.{field}[{n}]", f"{_told(overrider)}{error}") from None
            except ValueError as error:
                raise OverrideError(f"{path}.{field}[{n}]", str(error)) from None
            obj = after
    return obj


def values(overriders: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of every value in `overriders`: where variables may stand."""
    for field in _OVERRIDERS:
        for n, overrider in enumerate(maps(overriders.get(field))):
            where = f"{path}.{field}[{n}]"
            if "value" in overrider:
                yield f"{where}.value", overrider["value"]
            for part in ("json", "yaml"):
                for m, patch in enumerate(maps(overrider.get(part))):
                    if "value" in patch:
                        yield f"{where}.{part}[{m}].value", patch["value"]


def resolved(overriders: Mapping[str, Any], facts: bytes, path: str) -> Mapping[str, Any]:
    """`overriders` with the variables in their values put in (`variables.facts_of`). Raises OverrideError."""

    def patch_with(patch: Any, where: str) -> Any:
        if not isinstance(patch, Mapping) or "value" not in patch:
            return patch
        try:
            return {**patch, "value": with_variables(patch["value"], facts)}
        except VariableError as error:
            raise OverrideError(where, str(error)) from None

    def overrider_with(overrider: Any, where: str) -> Any:
        whole = patch_with(overrider, where)
        for part in ("json", "yaml"):
            patches = at(overrider, part)
            if isinstance(patches, list):
                filled = [patch_with(patch, f"{where}.{part}[{m}]") for m, patch in enumerate(patches)]
                whole = {**whole, part: filled}
        return whole

    return {
        field: [overrider_with(overrider, f"{path}.{field}[{n}]") for n, overrider in enumerate(listed)]
        if isinstance(listed, list)
        else listed
        for field, listed in overriders.items()
    }


def _told(overrider: Mapping[str, Any]) -> str:
    return f"cannot {overrider['operator']} " if overrider.get("operator") else ""


def _check(after: Any, before: Object) -> None:
    """An override changes what an object says, never which object it is: whoever may write a policy for one namespace
    must not reach another. Raises ValueError."""
    if after is before:
        return
    if not isinstance(after, dict) or not isinstance(after.get("metadata"), dict):
        raise ValueError("nothing would be left of the object")
    if after.get("apiVersion") != before.get("apiVersion") or after.get("kind") != before.get("kind"):
        raise ValueError("apiVersion and kind cannot be changed")
    if after["metadata"] is before.get("metadata"):
        return
    if (name_of(after), namespace_of(after)) != (name_of(before), namespace_of(before)):
        raise ValueError("metadata.name and metadata.namespace cannot be changed")
    for field in ("labels", "annotations"):
        held = after["metadata"].get(field)
        if held is not None and not (
            isinstance(held, dict) and all(isinstance(value, str) for value in held.values())
        ):
            raise ValueError(f"metadata.{field} must be a map of strings")


# --- images --------------------------------------------------------------------------------------------------


def _image(obj: Object, overrider: Mapping[str, Any]) -> Any:
    pointer = at(overrider, "predicate", "path")
    if pointer is None:
        return _with_containers(obj, lambda container: _with_image(container, overrider))
    present = value_at(obj, str(pointer))
    if not isinstance(present, str):
        raise ValueError(f"{pointer} holds no text")
    return _patched(obj, [("replace", str(pointer), _image_name(present, overrider))])


def _with_image(container: Object, overrider: Mapping[str, Any]) -> Object:
    present = container.get("image")
    if not isinstance(present, str) or not present:
        return container
    return {**container, "image": _image_name(present, overrider)}


def _image_name(text: str, overrider: Mapping[str, Any]) -> str:
    image = images.parse(text)
    operator, value = str(overrider.get("operator")), str(overrider.get("value") or "")
    component = overrider.get("component")
    if component == "Registry":
        image = replace(image, registry=_word(image.registry, operator, value))
    elif component == "Repository":
        image = replace(image, repository=_word(image.repository, operator, value))
        if not image.repository:
            raise ValueError(f"nothing would be left of the repository of image {text}")
    elif component == "Tag":
        if operator == "add" and image.digest:
            raise ValueError(f"image {text} has a digest, to which nothing can be added")
        version = _word(image.tag, operator, value)
        digest = images.is_digest(version)
        image = replace(image, tag="" if digest else version, digest=version if digest else "")
    return str(images.parse(str(image)))


def _word(present: str, operator: str, value: str) -> str:
    return {"add": present + value, "replace": value}.get(operator, "")


# --- commands and arguments ----------------------------------------------------------------------------------


def _words(field: str, obj: Object, overrider: Mapping[str, Any]) -> Object:
    given = overrider.get("value")
    words = given if isinstance(given, list) else []

    def change(container: Object) -> Object:
        if container.get("name") != overrider.get("containerName"):
            return container
        held = container.get(field)
        present = held if isinstance(held, list) else []
        if overrider.get("operator") == "add":
            left = [*present, *words]
        else:
            left = [word for word in present if word not in words]
        rest = {key: value for key, value in container.items() if key != field}
        return {**rest, field: left} if left else rest

    return _with_containers(obj, change)


def _with_containers(obj: Object, change: Callable[[Object], Object]) -> Object:
    """`obj` with each of its containers changed; `obj` itself if it is of another kind, or has none."""
    where = _POD_SPECS.get(str(obj.get("kind")))
    containers = at(obj, *where, "containers") if where is not None else None
    if where is None or not isinstance(containers, list):
        return obj
    after = [change(container) if isinstance(container, dict) else container for container in containers]
    whole: Object = _with_value(obj, (*where, "containers"), after)
    return whole


def _with_value(obj: Any, path: Sequence[str], value: Any) -> Any:
    return {**obj, path[0]: _with_value(obj[path[0]], path[1:], value)} if path else value


# --- labels and annotations ----------------------------------------------------------------------------------


def _labels(obj: Object, overrider: Mapping[str, Any]) -> Object:
    """Values are checked again: those with variables are known only now."""
    for key, value in table(overrider.get("value")).items():
        problems = names.validate_label_value(str(value)) if overrider.get("operator") != "remove" else ()
        if problems:
            raise ValueError(f"label {key}: {value!r}: {'; '.join(problems)}")
    return _entries("labels", obj, overrider)


def _entries(field: str, obj: Object, overrider: Mapping[str, Any]) -> Object:
    held = table(at(obj, "metadata", field))
    given = table(overrider.get("value"))
    operator = overrider.get("operator")
    if operator == "remove":
        after = {key: value for key, value in held.items() if key not in given}
    elif operator == "replace":
        after = {key: given.get(key, value) for key, value in held.items()}
    else:
        after = {**held, **given}
    return obj if after == held else with_metadata(obj, **{field: after or None})


# --- any field, and fields that hold text with fields in it --------------------------------------------------


def _plaintext(obj: Object, overrider: Mapping[str, Any]) -> Any:
    change = (str(overrider.get("operator")), str(overrider.get("path") or ""), overrider.get("value"))
    return _patched(obj, [change])


def _field(obj: Object, overrider: Mapping[str, Any]) -> Any:
    pointer = str(overrider.get("fieldPath") or "")
    text = value_at(obj, pointer)
    if not isinstance(text, str):
        raise ValueError(f"{pointer} holds no text")
    form = "json" if overrider.get("json") else "yaml"
    parse, encode = (_parse_json, _encode_json) if form == "json" else (yaml_text.parse, yaml_text.encode)
    try:
        value = parse(text)
    except ValueError as error:
        raise ValueError(f"the text at {pointer} {error}") from None
    for n, patch in enumerate(maps(overrider.get(form))):
        change = (str(patch.get("operator")), str(patch.get("subPath") or ""), patch.get("value"))
        try:
            value = _patched(value, [change])
        except PatchError as error:
            raise ValueError(f"{form}[{n}]: {_told(patch)}{error} in the text at {pointer}") from None
    return _patched(obj, [("replace", pointer, encode(value))])


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)  # keeps numbers that are larger than 64 bits
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None


def _encode_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _patched(doc: Any, changes: Sequence[tuple[str, str, Any]]) -> Any:
    return json_patch(doc, [{"op": op, "path": path, "value": value} for op, path, value in changes])


_OVERRIDERS: Mapping[str, Callable[[Object, Mapping[str, Any]], Any]] = {
    "imageOverrider": _image,
    "commandOverrider": partial(_words, "command"),
    "argsOverrider": partial(_words, "args"),
    "labelsOverrider": _labels,
    "annotationsOverrider": partial(_entries, "annotations"),
    "fieldOverrider": _field,
    "plaintext": _plaintext,
}
"""In the order in which they are carried out."""
