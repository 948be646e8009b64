"""Who may: RBAC, decided from an index that follows the cache.

The index maps each user and group to the bindings that name it, so that a decision looks at the asker's own bindings only.
Bindings name roles, and roles are looked up when asked: a role that is not there allows nothing and is told in the denial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from towline.certs.authority import AGENT_PREFIX, HUB_PREFIX
from towline.hub.api.authentication import Decision, denied
from towline.hub.api.paths import Attributes
from towline.hub.api.user import MASTERS, User
from towline.hub.store.cache import Cache
from towline.hub.store.watch import Entry, WatchEvent
from towline.kube import rbac
from towline.kube.objects import Key
from towline.kube.rbac import Rule

_ASK = ("create", "towline.io", "questions")
"""All that hubs may at each other: hub/asking."""
_BINDINGS = ("clusterrolebindings", "rolebindings")

Subject = tuple[str, str]
"""("User" or "Group", name)."""


class _Grant(NamedTuple):
    """One subject of one binding. `subject` as reasons tell it."""

    binding: Key
    role: Key
    subject: str


class Rbac:
    """An `Authorize`. `start` loads the index and follows the cache until `stop`."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._grants: dict[Subject, dict[str, dict[Key, _Grant]]] = {}
        """By subject and the binding's namespace ("" for the whole hub)."""
        self._subjects: dict[Key, tuple[Subject, ...]] = {}
        self._rules: dict[Key, tuple[int, tuple[Rule, ...]]] = {}
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._unsubscribe = self._cache.subscribe(self._changed)
        for resource in _BINDINGS:
            for entry in self._cache.list(rbac.GROUP, resource):
                self._bind(entry)

    def stop(self) -> None:
        self._unsubscribe()

    def __call__(self, user: User, at: Attributes) -> Decision:
        if MASTERS in user.groups:
            return Decision(True)
        if user.name.startswith(HUB_PREFIX):
            return Decision((at.verb, at.group, at.resource) == _ASK)
        missing: list[str] = []
        refused: set[Key] = set()  # many bindings give the same few roles
        for grant in self._grants_of(user, at.namespace):
            role = grant.role
            if role in refused:
                continue
            rules = self.rules_of(role)
            if rules is None:
                missing.append(_not_found(role))
            elif any(_allows(rule, at) for rule in rules):
                return Decision(True, _reason(grant))
            refused.add(role)
        return Decision(False, f"RBAC: {_told(missing)}" if missing else "")

    def refusal(self, user: User, at: Attributes) -> str:
        """Why `user` may not, as errors say it; "" for who may."""
        decision = self(user, at)
        return "" if decision.allowed else denied(user, at, decision.reason).message

    def rules_for(self, user: User, namespace: str) -> tuple[tuple[Rule, ...], str]:
        """All rules that `user` has in `namespace` and everywhere, and what went wrong in finding them."""
        found: list[Rule] = [*rbac.EVERYTHING] if MASTERS in user.groups else []
        missing: list[str] = []
        for role in dict.fromkeys(grant.role for grant in self._grants_of(user, namespace)):
            rules = self.rules_of(role)
            if rules is None:
                missing.append(_not_found(role))
            found += rules or ()
        return tuple(dict.fromkeys(found)), _told(missing)

    def _grants_of(self, user: User, namespace: str) -> Iterator[_Grant]:
        """The bindings of the whole hub first."""
        if user.name.startswith((AGENT_PREFIX, HUB_PREFIX)):
            return  # agents speak to the gateway: nothing here is theirs, whatever a binding says; nor is it other hubs'
        subjects = (("User", user.name), *(("Group", group) for group in user.groups))
        for space in ("", namespace) if namespace else ("",):
            for subject in subjects:
                yield from self._grants.get(subject, {}).get(space, {}).values()

    def rules_of(self, role: Key) -> tuple[Rule, ...] | None:
        """The rules of a Role or ClusterRole; None if it is not there."""
        entry = self._cache.get(role)
        if entry is None:
            self._rules.pop(role, None)
            return None
        known = self._rules.get(role)
        if known is None or known[0] != entry.revision:
            known = self._rules[role] = (entry.revision, rbac.rules_of(entry.object))
        return known[1]

    # --- the index -------------------------------------------------------------------------------------------

    def _changed(self, revision: int, events: Sequence[WatchEvent]) -> None:
        for event in events:
            key = event.entry.key
            if key.group == rbac.GROUP and key.resource in _BINDINGS:
                self._unbind(key)
                if event.type != "DELETED":
                    self._bind(event.entry)
            elif event.type == "DELETED":
                self._rules.pop(key, None)

    def _bind(self, entry: Entry) -> None:
        key, binding = entry.key, entry.object
        role = rbac.bound_role(binding, key.namespace)
        if role is None:
            return  # a Role means nothing outside its namespace
        subjects: list[Subject] = []
        for subject in binding.get("subjects") or ():
            of = rbac.subject_name(subject, key.namespace)
            if of is not None:
                held = self._grants.setdefault(of, {}).setdefault(key.namespace, {})
                held[key] = _Grant(key, role, _shown(subject, key.namespace))
                subjects.append(of)
        self._subjects[key] = tuple(subjects)

    def _unbind(self, key: Key) -> None:
        for subject in self._subjects.pop(key, ()):
            spaces = self._grants.get(subject, {})
            spaces.get(key.namespace, {}).pop(key, None)
            if not spaces.get(key.namespace):
                spaces.pop(key.namespace, None)
            if not spaces:
                self._grants.pop(subject, None)


def _allows(rule: Rule, at: Attributes) -> bool:
    if at.resource_request:
        return rule.allows(at.verb, at.group, at.resource, at.subresource, at.name)
    return rule.allows_url(at.verb, at.path)


def _shown(subject: dict[str, str], namespace: str) -> str:
    kind, name = subject["kind"], subject["name"]
    if kind == "ServiceAccount":
        name = f"{name}/{subject.get('namespace') or namespace}"
    return f'{kind} "{name}"'


def _reason(grant: _Grant) -> str:
    binding, role = grant.binding, grant.role
    kind, name = "ClusterRoleBinding", binding.name
    if binding.namespace:
        kind, name = "RoleBinding", f"{binding.name}/{binding.namespace}"
    of = "ClusterRole" if role.resource == "clusterroles" else "Role"
    return f'RBAC: allowed by {kind} "{name}" of {of} "{role.name}" to {grant.subject}'


def _not_found(role: Key) -> str:
    return f'{role.resource.removesuffix("s")}.{rbac.GROUP} "{role.name}" not found'


def _told(missing: list[str]) -> str:
    return f"[{', '.join(missing)}]" if len(missing) > 1 else "".join(missing)
