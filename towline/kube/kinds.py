"""Kinds: what the API engine, the decisions and the agent need to know about a kind, as data.

A kind of Kubernetes or Karmada is one row (`builtin.py`, `karmada.py`), a CRD makes one at run time. Nothing in
the API engine knows a kind by name: what differs between kinds is in its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from towline.kube.deletion import Cascade
from towline.kube.names import NameStyle
from towline.kube.objects import Key, Object, group_version, name_of, namespace_of
from towline.kube.schemas import FieldError, Schema


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column. `value` reads the cell from an object: a JSONPath (`.spec.replicas`) or a function.

    `type` is the OpenAPI type (string, integer, boolean, date); a `date` cell is shown as an age.
    `priority` 0 is always shown, above 0 only with `-o wide`.
    """

    name: str
    type: str
    value: str | Callable[[Object], Any]
    priority: int = 0
    description: str = ""
    absent: str = "<unknown>"
    """What a `date` shows that is not there."""
    names: bool = False
    """Holds the object's name: the table has no column for it before all others."""


FieldLabel = str | Callable[[Object], Any]
"""Where the value of a field selector's label stands in an object: a JSONPath, or a function."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Paths of the scale subresource, as in a CRD."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    selector: str | None = ".status.selector"


@dataclass(frozen=True, slots=True)
class Strategy:
    """Where a kind's admission differs. Each hook is pure; entropy and time are arguments.

    default(new, old, now, uid) -> the object to store, with defaults that the schema cannot express;
    `old` is None on create; `now` an RFC 3339 time; `uid` a fresh random UUID for ids that the kind needs.
    validate(new, old) -> errors.
    warn(new, old) -> what the client is told of what is accepted.
    """

    default: Callable[[Object, Object | None, str, str], Object] | None = None
    validate: Callable[[Object, Object | None], list[FieldError]] | None = None
    warn: Callable[[Object, Object | None], tuple[str, ...]] | None = None


class Outdated(NamedTuple):
    """Objects stored before a revision may lack what their schema (by apiVersion) says now."""

    before: int
    schemas: Mapping[str, Schema]


@dataclass(frozen=True, slots=True)
class Conversion:
    """Between one version of a resource and the one that is stored. Pure; neither changes its argument."""

    to_stored: Callable[[Object], Object]
    from_stored: Callable[[Object], Object]


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table of kinds."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    schema: Schema
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    field_labels: Mapping[str, FieldLabel] = field(default_factory=dict)
    """What field selectors may name beside metadata.name and metadata.namespace, in the object as it is stored."""
    status: bool = False
    """Has a status subresource: writes to the main resource ignore `.status`, and the reverse."""
    scale: Scale | None = None
    strategy: Strategy = Strategy()
    name_style: NameStyle = "subdomain"
    """How names of this kind are spelled (`names.validate_name`)."""
    generation: bool = True
    """Keeps metadata.generation: 1 on create, +1 when anything outside metadata and status changes."""
    generation_of_annotations: bool = False
    """Annotations count as well."""
    verbs: tuple[str, ...] = (
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    )  # fmt: skip
    outdated: Outdated | None = None
    """Where a CRD changed the defaults of objects that are stored already; they are filled in when these are read."""
    deprecation: str = ""
    """The warning with each answer of a deprecated version."""
    unconditional: bool = True
    """May be replaced by who names no revision."""
    cascade: Cascade = "Background"
    """What a deletion that names no policy does with dependents; empty where there are none."""
    cascade_warning: str = ""
    """What a client is told whose deletion names no policy."""
    deleted_shown: bool = False
    """A deletion is answered with the object as it was last, and not with a Status."""
    unserved: str = ""
    """Why nothing happens when such an object is written, as a warning tells it. Empty: it does what it says."""
    stored_group: str | None = None
    """The group whose resource its objects are stored as, where that is another one: one resource, served in two groups."""
    conversion: Conversion | None = None
    """To and from the stored version. None: it is the stored one, or differs from it in apiVersion only."""
    custom: bool = False
    """Defined by a CRD in this API server (no strategic merge patch, fields pruned)."""
    typed_items: bool = True
    """The items of a list say what they are, and its `continue` is there when empty: as of kinds that a CRD defines in
    Kubernetes or Karmada. Kubernetes' own leave it to the list."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def qualified(self) -> str:
        """`deployments.apps`: the name that errors use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def resource(self) -> tuple[str, str]:
        """Group and plural under which its objects are stored."""
        return (self.group if self.stored_group is None else self.stored_group, self.plural)

    def key(self, namespace: str, name: str) -> Key:
        return Key(*self.resource, namespace if self.namespaced else "", name)

    def key_of(self, obj: Mapping[str, Any]) -> Key:
        return self.key(namespace_of(obj), name_of(obj))


@dataclass(slots=True)
class KindTable:
    """The kinds that one API server (or decision) knows, by resource and by kind. CRDs add and remove rows."""

    _by_resource: dict[tuple[str, str, str], Kind] = field(default_factory=dict)
    _by_kind: dict[tuple[str, str, str], Kind] = field(default_factory=dict)
    generation: int = 0
    """Grows with every change, so that discovery and OpenAPI know when to render again."""

    @classmethod
    def of(cls, kinds: Iterable[Kind]) -> KindTable:
        table = cls()
        for kind in kinds:
            table.add(kind)
        return table

    def add(self, kind: Kind) -> None:
        self._by_resource[kind.group, kind.version, kind.plural] = kind
        self._by_kind[kind.group, kind.version, kind.kind] = kind
        self.generation += 1

    def remove(self, kind: Kind) -> None:
        self._by_resource.pop((kind.group, kind.version, kind.plural), None)
        self._by_kind.pop((kind.group, kind.version, kind.kind), None)
        self.generation += 1

    def resource(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_resource.get((group, version, plural))

    def named(self, api_version: str, kind: str) -> Kind | None:
        """The row of `apps/v1`, `Deployment`."""
        group, version = group_version(api_version)
        return self._by_kind.get((group, version, kind))

    def of_object(self, obj: Mapping[str, Any]) -> Kind | None:
        return self.named(str(obj.get("apiVersion") or ""), str(obj.get("kind") or ""))

    def stored(self, group: str, plural: str) -> Kind | None:
        """Any version's row of a resource (one is stored; several versions share the bytes)."""
        for (row_group, _, row_plural), kind in self._by_resource.items():
            if row_group == group and row_plural == plural:
                return kind
        return None

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._by_resource.values()))
