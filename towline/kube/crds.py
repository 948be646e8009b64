"""CustomResourceDefinitions: whether one is right, the kinds that it makes, and the status that it gets.

Pure: the API server calls `validate_crd` from the kind's admission, puts the rows of `kinds_of` into its table
and writes what `established` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from towline.kube import errors, names, rules, structural
from towline.kube.cells import at, maps, table
from towline.kube.columns import AGE
from towline.kube.kinds import Column, FieldLabel, Kind, Scale, Strategy
from towline.kube.objects import Object, copy, name_of
from towline.kube.schemas import FieldError, Schema

_SCOPES = ("Cluster", "Namespaced")
SELECTABLE_MAX = 8
"""Fields of a version that lists may be selected by."""
WARNING_MAX = 256
"""Characters of a version's deprecation warning."""

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


# --- the kinds of a CRD --------------------------------------------------------------------------------------


def kinds_of(crd: Object) -> list[Kind]:
    """One row for each served version of an established, valid CRD."""
    spec = table(crd.get("spec"))
    return [_kind(spec, version) for version in maps(spec.get("versions")) if version.get("served")]


def _kind(spec: Mapping[str, Any], version: Mapping[str, Any]) -> Kind:
    said = table(spec.get("names"))
    kind = str(said.get("kind"))
    scale = at(version, "subresources", "scale")
    schema = Schema.of_kind(at(version, "schema", "openAPIV3Schema"))
    return Kind(
        group=str(spec.get("group")),
        version=str(version.get("name")),
        kind=kind,
        plural=str(said.get("plural")),
        namespaced=spec.get("scope") == "Namespaced",
        schema=schema,
        singular=str(said.get("singular") or kind.lower()),
        short_names=tuple(said.get("shortNames") or ()),
        categories=tuple(said.get("categories") or ()),
        columns=_columns(version),
        status=at(version, "subresources", "status") is not None,
        scale=_scale(scale) if isinstance(scale, Mapping) else None,
        strategy=Strategy(validate=rules.validator(schema)),
        field_labels=_field_labels(version),
        deprecation=_deprecation(spec, version),
        unconditional=False,
        custom=True,
    )


def _columns(version: Mapping[str, Any]) -> tuple[Column, ...]:
    columns = tuple(
        Column(
            str(column.get("name")),
            str(column.get("type")),
            str(column.get("jsonPath")),
            column.get("priority") or 0,
            str(column.get("description") or ""),
        )
        for column in maps(version.get("additionalPrinterColumns"))
    )
    return columns or (AGE,)


def _field_labels(version: Mapping[str, Any]) -> dict[str, FieldLabel]:
    paths = [str(field.get("jsonPath")) for field in maps(version.get("selectableFields"))]
    return {path.removeprefix("."): path for path in paths}


def _deprecation(spec: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    if not version.get("deprecated"):
        return ""
    group, kind, name = spec.get("group"), at(spec, "names", "kind"), str(version.get("name"))
    better = [
        str(v["name"]) for v in maps(spec.get("versions")) if v.get("served") and not v.get("deprecated")
    ]
    best = min(better, key=names.version_order, default=name)
    said = f"{group}/{name} {kind} is deprecated"
    if names.version_order(best) < names.version_order(name):
        said += f"; use {group}/{best} {kind}"
    return str(version.get("deprecationWarning") or said)


def _scale(scale: Mapping[str, Any]) -> Scale:
    return Scale(
        str(scale.get("specReplicasPath")),
        str(scale.get("statusReplicasPath")),
        scale.get("labelSelectorPath"),
    )


# --- status --------------------------------------------------------------------------------------------------


def established(crd: Object, others: Iterable[Object], now: str) -> Object:
    """`crd` with its status brought up to date: the names it got, its stored versions, and whether it is served.
    `others` are the CRDs that may hold names already; `now` is an RFC 3339 time for conditions that change.
    The same object if nothing changes."""
    status: Object = copy(table(crd.get("status")))
    wanted = table(at(crd, "spec", "names"))
    clash = _clash(crd, others)
    if clash is None:
        status["acceptedNames"] = dict(wanted)
        accepted = _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found")
    else:
        status.setdefault("acceptedNames", {"plural": "", "kind": ""})
        accepted = _condition("NamesAccepted", "False", *clash)
    serves = clash is None or is_established(crd)
    if serves:
        ready = _condition(
            "Established", "True", "InitialNamesAccepted", "the initial names have been accepted"
        )
    else:
        ready = _condition("Established", "False", "NotAccepted", "not all names are accepted")
    status["conditions"] = _merged(maps(status.get("conditions")), (accepted, ready), now)
    storage = [str(v.get("name")) for v in maps(at(crd, "spec", "versions")) if v.get("storage")]
    stored = status.get("storedVersions") or []
    status["storedVersions"] = [*stored, *(name for name in storage if name not in stored)]
    return crd if status == crd.get("status") else {**crd, "status": status}


def is_established(crd: Object) -> bool:
    """Whether its kinds are served."""
    return any(
        c.get("type") == "Established" and c.get("status") == "True"
        for c in maps(at(crd, "status", "conditions"))
    )


def _clash(crd: Object, others: Iterable[Object]) -> tuple[str, str] | None:
    """(reason, message) when another CRD of the group holds one of the names."""
    said = table(at(crd, "spec", "names"))
    words = {str(said.get("plural")), str(said.get("singular") or ""), *(said.get("shortNames") or ())} - {""}
    for other in others:
        if name_of(other) == name_of(crd) or at(other, "spec", "group") != at(crd, "spec", "group"):
            continue
        held = table(at(other, "status", "acceptedNames"))
        taken = {str(held.get("plural")), str(held.get("singular") or ""), *(held.get("shortNames") or ())}
        for word in sorted(words & taken):
            reason = "PluralConflict" if word == said.get("plural") else "NameConflict"
            return reason, f'"{word}" is already in use'
        for field in ("kind", "listKind"):
            if said.get(field) and said.get(field) in (held.get("kind"), held.get("listKind")):
                return f"{field[0].upper()}{field[1:]}Conflict", f'"{said[field]}" is already in use'
    return None


def _condition(name: str, status: str, reason: str, message: str) -> Object:
    return {"type": name, "status": status, "reason": reason, "message": message}


def _merged(present: list[Mapping[str, Any]], wanted: tuple[Object, ...], now: str) -> list[Object]:
    """Conditions keep their place, and their time while the status is the same."""
    found = {str(condition.get("type")): dict(condition) for condition in present}
    for condition in wanted:
        before = found.get(condition["type"], {})
        same = before.get("status") == condition["status"]
        since = before.get("lastTransitionTime") if same else None
        found[condition["type"]] = {**condition, "lastTransitionTime": since or now}
    return list(found.values())


def warnings(crd: Object, old: Object | None) -> tuple[str, ...]:
    """Formats that mean nothing, of those that `old` does not name."""
    known = _unknown_formats(old or {})
    return tuple(f'unrecognized format "{name}"' for name in _unknown_formats(crd) if name not in known)


def _unknown_formats(crd: Object) -> list[str]:
    roots = [at(version, "schema", "openAPIV3Schema") for version in maps(at(crd, "spec", "versions"))]
    return list(dict.fromkeys(name for root in roots for name in structural.unknown_formats(root)))


# --- validation ----------------------------------------------------------------------------------------------


def validate_crd(crd: Object, old: Object | None = None) -> list[FieldError]:
    """What is wrong with a CRD beyond its own schema."""
    spec = table(crd.get("spec"))
    group, plural = str(spec.get("group") or ""), str(at(spec, "names", "plural") or "")
    found: list[FieldError] = []
    name = at(crd, "metadata", "name")
    if name != f"{plural}.{group}":
        found.append(errors.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if "." not in group:
        found.append(errors.invalid("spec.group", group, "should be a domain with at least one dot"))
    found += [errors.invalid("spec.group", group, message) for message in names.validate_subdomain(group)]
    if spec.get("scope") not in _SCOPES:
        found.append(errors.unsupported("spec.scope", spec.get("scope"), _SCOPES))
    found += _names(table(spec.get("names")))
    versions = maps(spec.get("versions"))
    found += _versions(versions)
    if crowded := rules.too_many(_different_schemas(versions), "spec.versions"):
        return found + crowded
    for n, version in enumerate(versions):
        found += _version(version, f"spec.versions[{n}]", versions)
    strategy = at(spec, "conversion", "strategy")
    if strategy not in (None, "None", "Webhook"):
        found.append(errors.unsupported("spec.conversion.strategy", strategy, ("None", "Webhook")))
    if strategy == "Webhook":
        message = (
            "conversion by a webhook is not supported here: say None, and the same schema for every version"
        )
        found.append(errors.invalid("spec.conversion.strategy", "Webhook", message))
    if spec.get("preserveUnknownFields"):
        found.append(errors.invalid("spec.preserveUnknownFields", True, "must be false"))
    return found + _fixed(crd, old)


def _different_schemas(versions: list[Mapping[str, Any]]) -> list[Schema]:
    nodes: list[Any] = []
    for version in versions:
        node = at(version, "schema", "openAPIV3Schema")
        if isinstance(node, Mapping) and node not in nodes[-1:]:
            nodes.append(node)
    return [Schema.of_kind(node) for node in nodes]


def _names(said: Mapping[str, Any]) -> list[FieldError]:
    words = [("plural", said.get("plural")), ("singular", said.get("singular"))]
    words += [(f"{f}[{n}]", w) for f in ("shortNames", "categories") for n, w in enumerate(said.get(f) or ())]
    found = [errors.required(f"spec.names.{field}") for field in ("plural", "kind") if not said.get(field)]
    for field, word in words:
        if word:
            path = f"spec.names.{field}"
            found += [errors.invalid(path, word, message) for message in names.validate_label1035(str(word))]
    for field in ("kind", "listKind"):
        if said.get(field):
            path, word = f"spec.names.{field}", str(said[field])
            messages = names.validate_label1035(word.lower())
            found += [
                errors.invalid(path, word, f"may have mixed case, but should otherwise match: {m}")
                for m in messages
            ]
    if said.get("kind") and said.get("kind") == said.get("listKind"):
        found.append(
            errors.invalid("spec.names.listKind", said["listKind"], "kind and listKind may not be the same")
        )
    return found


def _versions(versions: list[Mapping[str, Any]]) -> list[FieldError]:
    if not versions:
        return [errors.required("spec.versions", "must have exactly one version marked as storage version")]
    found: list[FieldError] = []
    seen: set[str] = set()
    for n, version in enumerate(versions):
        name = str(version.get("name") or "")
        found += [errors.invalid(f"spec.versions[{n}].name", name, m) for m in names.validate_label1035(name)]
        if name in seen:
            found.append(errors.invalid("spec.versions", name, "must contain unique version names"))
        seen.add(name)
    if sum(1 for version in versions if version.get("storage")) != 1:
        listed = [version.get("name") for version in versions]
        found.append(
            errors.invalid("spec.versions", listed, "must have exactly one version marked as storage version")
        )
    return found


def _version(version: Mapping[str, Any], path: str, versions: list[Mapping[str, Any]]) -> list[FieldError]:
    """What all `versions` say alike, Kubernetes names once: `spec.validation` for the schema. Only a missing one is told
    of each version."""
    schema = at(version, "schema", "openAPIV3Schema")
    if not isinstance(schema, Mapping):
        return [errors.required(f"{path}.schema.openAPIV3Schema", "schemas are required")]
    alike = {field for field in version if all(other.get(field) == version[field] for other in versions)}
    where = "spec.validation" if "schema" in alike else f"{path}.schema"
    where += ".openAPIV3Schema"
    columns = "spec" if "additionalPrinterColumns" in alike else path
    subresources = "spec" if "subresources" in alike else path
    found: list[FieldError] = []
    wrong = structural.problems(schema, where, status=at(version, "subresources", "status") is not None)
    found += wrong or rules.problems(Schema.of_kind(schema), where)
    found += _warning(version, path)
    fields = maps(version.get("selectableFields"))
    found += _selectable(fields, schema, "spec" if "selectableFields" in alike else path)
    for n, column in enumerate(maps(version.get("additionalPrinterColumns"))):
        found += _column(column, f"{columns}.additionalPrinterColumns[{n}]")
    scale = at(version, "subresources", "scale")
    for field, prefix in (
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
        ("labelSelectorPath", (".spec.", ".status.")),
    ):
        value = at(scale, field)
        if scale is None or (value is None and field == "labelSelectorPath"):
            continue
        if not value:
            found.append(errors.required(f"{subresources}.subresources.scale.{field}"))
        elif not str(value).startswith(prefix):
            shown = prefix if isinstance(prefix, str) else " or ".join(prefix)
            message = f"should be a json path under {shown.rstrip('.')}"
            found.append(errors.invalid(f"{subresources}.subresources.scale.{field}", value, message))
    return found


def _warning(version: Mapping[str, Any], path: str) -> list[FieldError]:
    where, said = f"{path}.deprecationWarning", version.get("deprecationWarning")
    if said is None:
        return []
    if not version.get("deprecated"):
        return [errors.invalid(where, said, "can only be set for deprecated versions")]
    if not said or len(said) > WARNING_MAX or not said.isprintable():
        message = f"must be 1 to {WARNING_MAX} printable characters long"
        return [errors.invalid(where, said, message)]
    return []


def _selectable(fields: list[Mapping[str, Any]], schema: Mapping[str, Any], path: str) -> list[FieldError]:
    """Fields that lists may be selected by: few, and each with a value that is plain."""
    found: list[FieldError] = []
    seen: set[str] = set()
    for n, field in enumerate(fields):
        where, said = f"{path}.selectableFields[{n}].jsonPath", str(field.get("jsonPath") or "")
        node = structural.at_path(schema, said)
        if not said:
            found.append(errors.required(where))
        elif node is None:
            found.append(errors.invalid(where, said, "is an invalid path: no field of the schema"))
        elif said.startswith(".metadata"):
            found.append(errors.invalid(where, said, "must not point to fields in metadata"))
        elif node.get("type") not in ("string", "boolean", "integer"):
            found.append(
                errors.invalid(where, said, "must point to a field of type string, boolean or integer")
            )
        if said in seen:
            found.append(errors.duplicate(where, said))
        seen.add(said)
    if len(seen) > SELECTABLE_MAX:
        message = f"Too many: {len(seen)}: must have at most {SELECTABLE_MAX} items"
        found.append(FieldError(f"{path}.selectableFields", "FieldValueTooMany", message))
    return found


def _column(column: Mapping[str, Any], path: str) -> list[FieldError]:
    found = [errors.required(f"{path}.{field}") for field in ("name", "type") if not column.get(field)]
    kind, where, said = column.get("type"), f"{path}.JSONPath", column.get("jsonPath")
    if kind and kind not in _COLUMN_TYPES:
        found.append(errors.invalid(f"{path}.type", kind, f"must be one of {', '.join(_COLUMN_TYPES)}"))
    if not said:
        found.append(errors.required(where))
    elif not str(said).startswith("."):
        found.append(errors.invalid(where, said, "must be a simple json path starting with ."))
    return found


def _fixed(crd: Object, old: Object | None) -> list[FieldError]:
    """What never changes once a CRD is served: group, scope, and the names that objects were stored under."""
    if old is None or not is_established(old):
        return []
    return [
        errors.invalid(".".join(path), at(crd, *path), errors.IMMUTABLE)
        for path in (
            ("spec", "group"),
            ("spec", "scope"),
            ("spec", "names", "plural"),
            ("spec", "names", "kind"),
        )
        if at(crd, *path) != at(old, *path)
    ] + [
        errors.invalid(f"status.storedVersions[{n}]", stored, "must appear in spec.versions")
        for n, stored in enumerate(at(old, "status", "storedVersions") or ())
        if stored not in [version.get("name") for version in maps(at(crd, "spec", "versions"))]
    ]
