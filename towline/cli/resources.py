"""Which object a user means: `deployment/web`, `deploy web`, `deployments.apps/web`, as kubectl understands it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from towline.cli.client import Client
from towline.cli.failures import Failure, Misuse

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Resource(NamedTuple):
    """A kind that the hub serves, in one version."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    names: frozenset[str]
    """What it may be called: plural, singular, short names, kind; in lower case."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{root}{where}/{self.plural}/{name}"


def split(words: Sequence[str]) -> tuple[str, str]:
    """Kind and name of `KIND/NAME` or `KIND NAME`. Raises Misuse."""
    kind, slash, name = words[0].partition("/")
    if len(words) == 2 and not slash:
        return words[0], words[1]
    if len(words) != 1 or not (kind and name):
        told = " ".join(words)
        raise Misuse(f"{told!r} names no object.", "Write it like deployment/web.")
    return kind, name


def find(client: Client, name: str) -> Resource:
    """The resource that `name` (`deploy`, `deployments.apps`, `deployments.v1.apps`) means. Raises Failure."""
    found = find_in(served(client), name)
    if found is None:
        raise Failure(f"The hub has no kind {name!r}.", "`kubectl api-resources` shows those there are.")
    return found


def find_in(resources: Iterable[Resource], name: str) -> Resource | None:
    """The first that fits: the core group, and a group's preferred version, come first."""
    short, _, rest = name.lower().partition(".")
    for resource in resources:
        if short in resource.names and (
            not rest or resource.group.startswith(rest) or rest == f"{resource.version}.{resource.group}"
        ):
            return resource
    return None


def served(client: Client) -> Iterator[Resource]:
    """All that can be read, in the order of discovery."""
    for path in ("/api", "/apis"):
        yield from resources_of(client.get(path, accept=_DISCOVERY))


def resources_of(discovery: Any) -> Iterator[Resource]:
    """The resources of an aggregated discovery document that can be read."""
    for group in discovery.get("items") or ():
        for version in group.get("versions") or ():
            for row in version.get("resources") or ():
                kind = row["responseKind"]
                if "get" in row["verbs"]:
                    called = [
                        row["resource"],
                        row.get("singularResource"),
                        kind["kind"],
                        *(row.get("shortNames") or ()),
                    ]
                    yield Resource(
                        kind["group"],
                        kind["version"],
                        kind["kind"],
                        row["resource"],
                        row["scope"] == "Namespaced",
                        frozenset(str(word).lower() for word in called if word),
                    )
