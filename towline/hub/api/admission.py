"""What an object goes through between the client's bytes and the store. Pure.

    types of metadata -> unknown fields (Strict, Warn, Ignore) and pruning -> the schema's defaults -> types and values
    -> the kind's own defaults -> values again -> the kind's own rules -> names, labels, owners

Everything that is wrong is told at once, with the path of the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from towline.hub.api.status import StatusError, bad_request, invalid
from towline.kube import names, ratcheting, rules, schemas
from towline.kube.kinds import Kind
from towline.kube.objects import Object, OwnerReference
from towline.kube.schemas import FieldError

ANNOTATIONS_BYTES_MAX = 256 * 1024
GENERATED_LENGTH_MAX = 63
GENERATED_RANDOM = 5

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_EMPTY: Mapping[str, Any] = {}
_BLOCKING = frozenset(
    {
        "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid",
    }
)  # fmt: skip
"""Errors of the schema with which the rules of a CRD are not evaluated."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """`full` is what `check` looks at; `object` is what is stored: without the empty lists and maps that Go leaves out."""

    object: Object
    full: Object
    warnings: tuple[str, ...] = ()
    errors: tuple[FieldError, ...] | None = None
    """What the schema says of `full`; None where it has to be asked. A kind's defaults make nothing wrong that was right."""


class Undecodable(StatusError):
    """400: what was sent is no object of its kind."""

    def __init__(self, kind: Kind, why: str) -> None:
        message = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}'
        super().__init__(400, "BadRequest", message)


class _Metadata(msgspec.Struct, frozen=True):
    """The types that everything behind this module may rely on."""

    name: str | None = None
    namespace: str | None = None
    generateName: str | None = None
    uid: str | None = None
    resourceVersion: str | None = None
    generation: int | None = None
    creationTimestamp: str | None = None
    deletionTimestamp: str | None = None
    deletionGracePeriodSeconds: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    ownerReferences: list[OwnerReference] | None = None
    managedFields: list[dict[str, Any]] | None = None


def check_envelope(kind: Kind, obj: Object) -> Object:
    """The object with apiVersion and kind of `kind`, and metadata of the right types. Absent apiVersion and kind are
    filled in, others are 400."""
    api_version, name = obj.get("apiVersion"), obj.get("kind")
    if not api_version and not name:
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, **_without_envelope(obj)}
    elif api_version != kind.api_version:
        raise bad_request(
            f"the API version in the data ({api_version or ''}) does not match the expected API version "
            f"({kind.api_version})"
        )
    elif name != kind.kind:
        raise Undecodable(kind, f"it is {name or 'an object without kind'}")
    metadata = obj.get("metadata")
    if metadata is None:
        return {**obj, "metadata": {}}
    try:
        msgspec.convert(metadata, _Metadata)
    except msgspec.ValidationError as error:
        raise Undecodable(kind, _metadata_message(str(error))) from None
    return obj


def prepare(
    kind: Kind,
    obj: Object,
    old: Object | None,
    *,
    validation: str,
    now: str,
    uid: str,
    unknown: tuple[str, ...] | None = None,
) -> Prepared:
    """`obj` with what nobody may say left out and the defaults filled in; `check` looks at it afterwards. `unknown` are
    unknown fields that the caller found already in what the client sent. Raises 400 for unknown fields under Strict, and for
    values of a wrong type in what Kubernetes decodes into types of its own (built-in kinds)."""
    pruned = schemas.prune(kind.schema, obj)
    if unknown is None:
        unknown = unknown_fields(kind, obj, pruned, validation)
    warnings = reported(kind, unknown, validation)
    if kind.unserved:
        warnings += (kind.unserved,)
    if kind.strategy.warn is not None:
        warnings += kind.strategy.warn(pruned, old)
    obj = schemas.default(kind.schema, pruned)
    errors = schemas.validate(kind.schema, obj)
    told: tuple[FieldError, ...] | None = tuple(errors)
    if kind.strategy.default is not None and check_types(kind, errors):
        obj = kind.strategy.default(obj, old, now, uid)
        told = None if errors else ()
    elif errors:
        check_types(kind, errors)
    return Prepared(schemas.compact(kind.schema, obj) if is_builtin(kind) else obj, obj, warnings, told)


def check(kind: Kind, prepared: Prepared, old: Object | None) -> None:
    """Raises 422 with everything that is wrong with a prepared object."""
    obj = prepared.full
    errors = list(schemas.validate(kind.schema, obj) if prepared.errors is None else prepared.errors)
    if errors and kind.custom and old is not None:
        errors = ratcheting.new_errors(kind.schema, errors, obj, old)
    strategy = kind.strategy
    if strategy.validate is not None:
        if kind.custom and any(error.reason in _BLOCKING for error in errors):
            errors = [*errors, rules.UNCHECKED]
        elif check_types(kind, errors):
            errors = [*errors, *strategy.validate(obj, old)]
    errors = [
        *metadata_errors(kind, obj, old),
        *(error for error in errors if not error.path.startswith("metadata.ownerReferences")),
    ]
    if errors:
        # Where both the schema and the kind's rules tell it, the rules say more.
        once = {(error.path, error.reason): error for error in errors}
        named = str((obj.get("metadata") or _EMPTY).get("name") or "")
        raise invalid(kind, named, list(once.values()))


def is_builtin(kind: Kind) -> bool:
    """Kubernetes has Go types for it: their decoding refuses what a CRD's schema only finds invalid, and their encoding
    leaves empty lists and maps out."""
    return kind.schema.definition.startswith("io.k8s.")


def check_types(kind: Kind, errors: Sequence[FieldError]) -> bool:
    """Whether all values have the types that their fields want. Raises Undecodable where Kubernetes would not get beyond
    the decoding."""
    wrong = [error for error in errors if error.reason == "FieldValueTypeInvalid"]
    if is_builtin(kind):
        wrong += [error for error in errors if error.message.endswith(schemas.TYPE_LIMITS)]
        if wrong:
            raise Undecodable(kind, ", ".join(map(str, wrong)))
    return not wrong


def unknown_fields(kind: Kind, obj: Object, pruned: Object | None, validation: str) -> tuple[str, ...]:
    """Paths of fields that the schema does not know, when anybody wants to hear of them."""
    if validation == "Ignore" or pruned is obj:
        return ()
    return tuple(schemas.unknown_fields(kind.schema, obj))


def reported(kind: Kind, unknown: tuple[str, ...], validation: str) -> tuple[str, ...]:
    """Warnings for `unknown`, or 400 under Strict."""
    if not unknown or validation == "Ignore":
        return ()
    told = tuple(f'unknown field "{path}"' for path in unknown)
    if validation == "Strict":
        raise Undecodable(kind, f"strict decoding error: {', '.join(told)}")
    return told


def type_errors(kind: Kind, obj: Object) -> None:
    """400 or 422 where a part of an object has a type that would make merging it senseless."""
    errors = [e for e in schemas.validate(kind.schema, obj) if e.reason == "FieldValueTypeInvalid"]
    if not check_types(kind, errors):
        raise invalid(kind, str((obj.get("metadata") or _EMPTY).get("name") or ""), errors)


def generated_name(prefix: str, uid: str) -> str:
    """`prefix` and five characters drawn from `uid`."""
    draw = int(uid.replace("-", "")[-15:], 16)
    letters = []
    for _ in range(GENERATED_RANDOM):
        draw, letter = divmod(draw, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return prefix[: GENERATED_LENGTH_MAX - GENERATED_RANDOM] + "".join(letters)


# --- metadata --------------------------------------------------------------------------------------------------


def metadata_errors(kind: Kind, obj: Object, old: Object | None) -> list[FieldError]:
    """Kubernetes' rules for metadata of any kind. What did not change since `old` is not looked at again."""
    metadata: Mapping[str, Any] = obj["metadata"]
    before: Mapping[str, Any] = (old or _EMPTY).get("metadata") or _EMPTY
    errors: list[FieldError] = []
    if old is None:
        errors += _name_errors(kind, metadata)
    if (labels := metadata.get("labels")) and labels != before.get("labels"):
        errors += _label_errors(labels)
    if (annotations := metadata.get("annotations")) and annotations != before.get("annotations"):
        errors += _annotation_errors(annotations)
    if (finalizers := metadata.get("finalizers")) != before.get("finalizers"):
        errors += _finalizer_errors(finalizers or [], metadata, before)
    if (owners := metadata.get("ownerReferences")) and owners != before.get("ownerReferences"):
        errors += _owner_errors(owners)
    return errors


def _name_errors(kind: Kind, metadata: Mapping[str, Any]) -> list[FieldError]:
    name = metadata.get("name")
    if not name:
        return [
            FieldError(
                "metadata.name", "FieldValueRequired", "Required value: name or generateName is required"
            )
        ]
    return [
        _invalid_value("metadata.name", name, message)
        for message in names.validate_name(name, kind.name_style)
    ]


def _label_errors(labels: Mapping[str, str]) -> list[FieldError]:
    errors = []
    for key, value in labels.items():
        errors += [_invalid_value("metadata.labels", key, m) for m in names.validate_qualified_name(key)]
        errors += [_invalid_value("metadata.labels", value, m) for m in names.validate_label_value(value)]
    return errors


def _annotation_errors(annotations: Mapping[str, str]) -> list[FieldError]:
    path = "metadata.annotations"
    errors, size = [], 0
    for key, value in annotations.items():
        size += len(key) + len(value)
        errors += [_invalid_value(path, key, m) for m in names.validate_qualified_name(key.lower())]
    if size > ANNOTATIONS_BYTES_MAX:
        errors.append(
            FieldError(
                path, "FieldValueTooLong", f"Too long: may not be more than {ANNOTATIONS_BYTES_MAX} bytes"
            )
        )
    return errors


def _finalizer_errors(
    finalizers: list[str], metadata: Mapping[str, Any], before: Mapping[str, Any]
) -> list[FieldError]:
    path = "metadata.finalizers"
    errors = []
    for finalizer in finalizers:
        errors += [_invalid_value(path, finalizer, m) for m in names.validate_qualified_name(finalizer)]
    if before.get("deletionTimestamp"):
        added = [f for f in finalizers if f not in (before.get("finalizers") or [])]
        if added:
            told = f"Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {added}"
            errors.append(FieldError(path, "FieldValueForbidden", told))
    return errors


def _owner_errors(owners: list[dict[str, Any]]) -> list[FieldError]:
    errors = []
    controllers = 0
    for owner in owners:
        path = "metadata.ownerReferences"
        errors += [
            _invalid_value(f"{path}.{field}", "", "must not be empty")
            for field in ("apiVersion", "kind", "name", "uid")
            if not owner.get(field)
        ]
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        told = "Invalid value: only one reference can have controller set to true"
        errors.append(FieldError("metadata.ownerReferences", "FieldValueInvalid", told))
    return errors


def _invalid_value(path: str, value: str, message: str) -> FieldError:
    return FieldError(path, "FieldValueInvalid", f'Invalid value: "{value}": {message}')


def _without_envelope(obj: Object) -> Object:
    return {field: value for field, value in obj.items() if field not in ("apiVersion", "kind")}


def _metadata_message(message: str) -> str:
    told, _, where = message.partition(" - at ")
    return f"metadata{where.strip('`').removeprefix('$')}: {told}"
