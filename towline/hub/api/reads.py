"""Reads: one object or a list, joined from stored bytes and never encoded again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from towline.hub.api import list_options, pages, paths, status, tables
from towline.hub.api.bodies import Accepted, encode_yaml
from towline.hub.api.engine import Engine
from towline.hub.api.pages import WHOLE, Page
from towline.hub.api.paths import Attributes
from towline.hub.api.versions import all_current, as_stored, as_version, current
from towline.hub.store.watch import Entry, Gone, ParsedObjects
from towline.kube import field_labels, selectors
from towline.kube.kinds import Kind
from towline.kube.objects import Key, read_meta, revision_of

NAME_FIELD = "metadata.name"
NAMESPACE_FIELD = "metadata.namespace"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource a list, watch or deletecollection means."""

    namespace: str | None
    labels: selectors.Selector
    fields: selectors.FieldSelector
    kind: Kind

    @property
    def everything(self) -> bool:
        return not self.labels and not self.fields

    def holds(self, entry: Entry) -> bool:
        if self.labels and not self.labels.matches(entry.meta.labels):
            return False
        return not self.fields or self.fields.matches(lambda label: self._field(entry, label))

    def _field(self, entry: Entry, label: str) -> str:
        if label == NAME_FIELD:
            return entry.key.name
        if label == NAMESPACE_FIELD:
            return entry.key.namespace
        return field_labels.text_of(self.kind.field_labels[label], current(self.kind, entry).object)


def selection(kind: Kind, at: Attributes, query: Mapping[str, str]) -> Selection:
    """From a request. A name in the URL restricts to one object (a watch of it). Raises 400."""
    try:
        labels = selectors.parse_query(query.get("labelSelector"))
        fields = selectors.parse_fields(query.get("fieldSelector"))
    except selectors.SelectorError as error:
        raise status.bad_request(f"unable to parse the selector: {error}") from None
    for requirement in fields:
        _known_field(kind, requirement.path)
    if at.name:
        if fields and fields.equal_to(NAME_FIELD) != at.name:
            raise status.bad_request("fieldSelector metadata.name doesn't match requested name")
        fields = fields or selectors.FieldSelector((selectors.FieldRequirement(NAME_FIELD, at.name, True),))
    return Selection((at.namespace if kind.namespaced else "") or None, labels, fields, kind)


def _known_field(kind: Kind, label: str) -> None:
    """Raises 400 for a label that fields of `kind` are not selected by."""
    own = bool(kind.field_labels) or kind.typed_items
    if label == NAME_FIELD or label in kind.field_labels:
        return
    if label == NAMESPACE_FIELD and (kind.namespaced or not own):
        return
    if own:
        raise status.bad_request(f"field label not supported: {label}")
    raise status.bad_request(
        f'"{label}" is not a known field selector: only "{NAME_FIELD}", "{NAMESPACE_FIELD}"'
    )


def select(engine: Engine, kind: Kind, chosen: Selection) -> Sequence[Entry]:
    """The entries of a selection, in order. One object that is named is looked up, not searched."""
    source = engine.source(kind)
    name = chosen.fields.equal_to(NAME_FIELD)
    if name is not None and (chosen.namespace is not None or not kind.namespaced):
        entry = source.get(kind.key(chosen.namespace or "", name))
        return [entry] if entry is not None and chosen.holds(entry) else []
    entries = source.list(*kind.resource, chosen.namespace)
    if chosen.everything:
        return entries
    return [entry for entry in entries if chosen.holds(entry)]


async def get(engine: Engine, kind: Kind, key: Key, accept: Accepted, query: Mapping[str, str]) -> bytes:
    """The body for one object. Raises 404, 504."""
    source = engine.source(kind)
    if query.get("resourceVersion"):
        await engine.until(source, list_options.revision(query))
    entry = source.get(key)
    if entry is None:
        raise status.not_found(kind, key.name)
    entry = current(kind, entry)
    if accept.form == "table":
        return tables.table(
            kind,
            [entry],
            revision=entry.revision,
            now=engine.now(),
            version=accept.version,
            include=included(query),
        )
    value = as_version(entry.value, kind)
    return as_form(value, accept)


async def list_objects(
    engine: Engine, kind: Kind, chosen: Selection, accept: Accepted, query: Mapping[str, str]
) -> bytes:
    """The body for a list, or for one page of it. Raises 400, 410, 422, 504."""
    at, page = await page_of(engine, kind, chosen, query)
    entries = all_current(kind, page.entries)
    if accept.form == "table":
        return tables.table(
            kind,
            entries,
            revision=at,
            token=page.token,
            remaining=page.remaining,
            now=engine.now(),
            version=accept.version,
            include=included(query),
        )
    if accept.form == "plain" and entries is engine.cache.list(*kind.resource, chosen.namespace):
        return _whole_list(engine, kind, chosen, at, entries)
    values = [entry.value for entry in entries]
    if accept.form == "partial":
        values = [tables.partial(value, accept.version) for value in values]
        metadata = _list_metadata(at, page)
        body = _joined("PartialObjectMetadataList", f"meta.k8s.io/{accept.version}", metadata, values)
        return body if values else body.removesuffix(b"[]}") + b"null}"  # what Go clients are used to
    return plain_list(engine, kind, at, values, page)


def _whole_list(engine: Engine, kind: Kind, chosen: Selection, at: int, entries: Sequence[Entry]) -> bytes:
    """A list of everything in a namespace, or anywhere: the body is kept for the next one who asks."""
    where = (*kind.resource, kind.version, chosen.namespace, engine.kinds.generation)
    head = _list_head(kind.list_kind, kind.api_version, _plain_metadata(kind, at, WHOLE))
    body = engine.bodies.get(where, entries, head)
    if body is None:
        body = plain_list(engine, kind, at, [entry.value for entry in entries])
        engine.bodies.keep(where, entries, head, body)
    return body


def plain_list(engine: Engine, kind: Kind, at: int, values: Sequence[bytes], page: Page = WHOLE) -> bytes:
    """A list of stored bytes, which are sliced, not encoded again."""
    metadata = _plain_metadata(kind, at, page)
    if kind.typed_items:
        values = [as_version(value, kind) for value in values]
        return _joined(kind.list_kind, kind.api_version, metadata, values)
    shown = engine.storage(kind)
    if kind.conversion is not None:
        shown, values = kind, [as_version(value, kind) for value in values]
    typed = b'{"apiVersion":"%b","kind":"%b",' % (shown.api_version.encode(), kind.kind.encode())
    past = len(typed)
    # All begin with a brace, which the separator puts back.
    bare = [value[past:] if value.startswith(typed) else value[1:] for value in values]
    return _joined(kind.list_kind, kind.api_version, metadata, bare, b"{")


def _plain_metadata(kind: Kind, at: int, page: Page) -> dict[str, str | int]:
    metadata = _list_metadata(at, page)
    if kind.typed_items:
        metadata.setdefault("continue", "")
    return metadata


def _list_metadata(at: int, page: Page) -> dict[str, str | int]:
    metadata: dict[str, str | int] = {"resourceVersion": str(at)}
    if page.token:
        metadata["continue"] = page.token
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    return metadata


def _list_head(kind: str, api_version: str, metadata: Mapping[str, str | int]) -> bytes:
    return b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (
        kind.encode(),
        api_version.encode(),
        orjson.dumps(metadata),
    )


def _joined(
    kind: str,
    api_version: str,
    metadata: Mapping[str, str | int],
    values: Sequence[bytes],
    opening: bytes = b"",
) -> bytes:
    """A list's body. `opening` goes before each of the values."""
    head = _list_head(kind, api_version, metadata)
    if not values:
        return head + b"]}"
    parts = list(values)
    parts[0] = head + opening + parts[0]
    parts[-1] += b"]}"
    return (b"," + opening).join(parts)


def table_of(engine: Engine, kind: Kind, value: bytes, accept: Accepted, query: Mapping[str, str]) -> bytes:
    """A Table of one object that was just written."""
    value = as_stored(value, kind)
    meta = read_meta(value)
    key = kind.key(meta.namespace, meta.name)
    stored = revision_of(orjson.loads(value))
    entry = Entry(key, value, stored, meta, ParsedObjects(0))
    return tables.table(
        kind, [entry], revision=stored, now=engine.now(), version=accept.version, include=included(query)
    )


def as_form(value: bytes, accept: Accepted) -> bytes:
    """An object's bytes as PartialObjectMetadata where that is asked for."""
    return tables.partial(value, accept.version) if accept.form == "partial" else value


def as_yaml(body: bytes) -> bytes:
    return encode_yaml(orjson.loads(body))


def included(query: Mapping[str, str]) -> str:
    policy = query.get("includeObject") or "Metadata"
    if policy not in ("None", "Metadata", "Object"):
        raise status.bad_request(f"includeObject: {policy!r} is none of None, Metadata, Object")
    return policy


async def page_of(
    engine: Engine, kind: Kind, chosen: Selection, query: Mapping[str, str]
) -> tuple[int, Page]:
    """What a list answers, and the revision it shows. Raises 400, 410, 422, 504."""
    list_options.check(query)
    source = engine.source(kind)
    exact = await _exact_revision(engine, kind, query)
    text = query.get("continue")
    token = pages.decode(text) if text else None
    if token is not None:
        if query.get("resourceVersion", "0") not in ("", "0"):
            raise status.bad_request("specifying resource version is not allowed when using continue")
        exact = 0 if token.rv == pages.NEWEST else token.rv
        await engine.until(source, exact)
    limit = 0 if query.get("resourceVersion") == "0" else paths.limit(query)
    if not exact and token is None and not limit:
        return source.revision, Page(select(engine, kind, chosen))
    # Nothing awaits from here on: entries and revision belong together.
    at = exact or source.revision
    try:
        entries = source.at(*kind.resource, chosen.namespace, at)
    except Gone:
        if token is not None:
            raise pages.token_expired(token) from None
        raise status.expired(f"The resourceVersion for the provided list is too old: {at}") from None
    return at, pages.page(
        entries,
        None if chosen.everything else chosen.holds,
        namespace=chosen.namespace if kind.namespaced else "",
        revision=at,
        limit=limit,
        start=token.start if token is not None else "",
    )


async def _exact_revision(engine: Engine, kind: Kind, query: Mapping[str, str]) -> int:
    """The one revision that a list must show; 0 for the newest. Waits for the revision that is asked for."""
    wanted = list_options.revision(query)
    if wanted and not query.get("continue"):
        await engine.until(engine.source(kind), wanted)
    match = query.get("resourceVersionMatch")
    # A limit with a revision meant that very revision before there was resourceVersionMatch.
    return wanted if match == "Exact" or (not match and paths.limit(query)) else 0
