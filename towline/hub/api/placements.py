"""Explain and what-if through the API: reviews of placement (`towline.io/v1alpha1`), which are created and never stored.

Nobody learns here what RBAC hides. Both want `get` on the template and on its binding. Clusters that are no targets, and how the
choice fell on those that are, need `list` on clusters; policies need `list` on policies: without it an explanation leaves them
out and says so, and a forecast, which is about clusters, is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from towline.hub.api import hypothetical, status
from towline.hub.api.actions import Acted, Action, Actions
from towline.hub.api.authentication import Authorize, denied
from towline.hub.api.hypothetical import invalid
from towline.hub.api.paths import Attributes
from towline.hub.api.status import StatusError
from towline.hub.api.user import User
from towline.hub.decide import bindings, propagation
from towline.hub.decide.explaining import NOTHING_HELD, Recorded, explain
from towline.hub.decide.moving import Holds
from towline.hub.decide.plan import Snapshot
from towline.hub.decide.scheduling import View
from towline.hub.decide.whatif import Changes, Forecast, concerned, forecast, held
from towline.hub.store.cache import Cache
from towline.kube import errors, interpreter, names, placements, schemas
from towline.kube.objects import Key, Object, is_deleting
from towline.kube.placements import GROUP, VERSION

TEMPLATES_MAX = 500
"""How many templates one forecast decides; it is a few seconds on a thousand clusters."""
WAITING_MAX = 8
"""How many forecasts wait for their turn; one more is refused with 429."""
WHOLE_MAX = 10
"""Of so many templates that are asked for by name all targets are answered; of more only what moves."""

_CLUSTERS = Attributes("list", "", True, names.CLUSTER_GROUP, "v1alpha1", "clusters")


class Placements:
    """The actions. `view` is the fleet at a time, `recorded` the last decision about a template, `holds` what holds moves of a binding
    back at a time, `now` epoch seconds."""

    def __init__(
        self,
        cache: Cache,
        authorize: Authorize,
        *,
        view: Callable[[float], View],
        recorded: Callable[[Key], Recorded | None],
        holds: Callable[[Key, float], Holds] = lambda binding, now: NOTHING_HELD,
        now: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._authorize = authorize
        self._view = view
        self._recorded = recorded
        self._holds = holds
        self._now = now
        self._turn = asyncio.Lock()
        """Forecasts are made one after the other, each in small pieces: the hub has other things to do."""
        self._waiting = 0

    def actions(self) -> Actions:
        return {
            (GROUP, kind.plural, ""): Action(
                kind, self._explain if name.endswith("Explanation") else self._forecast
            )
            for name, kind in placements.kinds().items()
        }

    @property
    def _snapshot(self) -> Snapshot:
        return self._cache.snapshot

    # --- explain ---------------------------------------------------------------------------------------------

    async def _explain(self, user: User, at: Attributes, obj: Object) -> Acted:
        _refuse(obj)
        key = self._template(user, at.namespace, obj["spec"], "spec")
        at_binding = self._check_binding(user, key)
        now = self._now()
        holds = self._holds(at_binding, now)
        told = explain(self._snapshot, key, self._view(now), now, self._recorded(key), holds)
        withheld = self._withhold(user, key, told)
        return Acted({**obj, "status": {**told, **({"withheld": withheld} if withheld else {})}})

    def _withhold(self, user: User, key: Key, told: dict[str, Any]) -> list[str]:
        """Takes out of an explanation what `user` may not see, and says what it took."""
        withheld: list[str] = []
        if not self._authorize(user, _CLUSTERS).allowed:
            for part in ("decision", "since", "moves"):
                told.pop(part, None)
            withheld.append(f"decision: needs list on clusters.{names.CLUSTER_GROUP}")
        for part, resource, namespace, marker in (
            ("overrides", "overridepolicies", key.namespace, ""),
            ("overrides", "clusteroverridepolicies", "", ""),
            ("policy", "propagationpolicies", key.namespace, "policy("),
            ("policy", "clusterpropagationpolicies", "", "cluster policy("),
        ):
            asked = Attributes("list", "", True, names.POLICY_GROUP, "v1alpha1", resource, "", namespace)
            if part not in told or self._authorize(user, asked).allowed:
                continue
            if marker:
                told[part] = _without(told[part], marker)
            else:
                del told[part]
            withheld.append(f"{part}: needs list on {resource}.{names.POLICY_GROUP}")
        return withheld

    # --- what-if ---------------------------------------------------------------------------------------------

    async def _forecast(self, user: User, at: Attributes, obj: Object) -> Acted:
        _refuse(obj)
        spec = obj.get("spec") or {}
        self._check(user, _CLUSTERS)
        changes = hypothetical.changes(self._snapshot, at.namespace, spec, self._now())
        for key in [key for key, then in changes.items() if then is None or is_deleting(then)]:
            self._check(user, self._get(key))
            self._check_there(key)
        keys, remaining, hidden = self._asked_for(user, at.namespace, spec, changes)
        if self._waiting >= WAITING_MAX:
            raise status.too_many_requests("Too many forecasts are being made, please try again later.")
        self._waiting += 1
        try:
            told = await self._told(keys, changes, spec)
        finally:
            self._waiting -= 1
        told["remaining"] = remaining
        if doubt := held(self._snapshot, changes, self._now()):
            told["held"] = doubt
        if hidden:
            told["withheld"] = [f"{hidden} template(s) that the asker may not get"]
        return Acted({**obj, "status": {"summary": _summary(told), **told}})

    def _asked_for(
        self, user: User, namespace: str, spec: Mapping[str, Any], changes: Changes
    ) -> tuple[list[Key], int, int]:
        """The templates, how many more there are, and how many others `user` may not get. Raises 403, 404, 422."""
        replicas, found, hidden, remaining = spec.get("replicas"), list[Key](), 0, 0
        for n, ref in enumerate(spec.get("templates") or ()):
            key = self._template(user, namespace, ref, f"spec.templates[{n}]")
            self._check_binding(user, key)
            if replicas is not None and interpreter.replicas(self._snapshot.get(key) or {}) is None:
                raise invalid(errors.forbidden("spec.replicas", f"{key.resource} have no replicas"))
            found.append(key)
        if found:
            return found, 0, 0
        if replicas is not None:
            told = "name the templates that it is meant for in spec.templates"
            raise invalid(errors.forbidden("spec.replicas", told))
        self._check(user, _bindings("list", namespace))
        for key in concerned(self._snapshot, changes, namespace or None):
            if len(found) == TEMPLATES_MAX:
                remaining += 1
            elif self._authorize(user, self._get(key)).allowed:
                found.append(key)
            else:
                hidden += 1
        return found, remaining, hidden

    async def _told(self, keys: Sequence[Key], changes: Changes, spec: Mapping[str, Any]) -> dict[str, Any]:
        shown: list[dict[str, Any]] = []
        moved = failed = looked = 0
        named, replicas = bool(spec.get("templates")), spec.get("replicas")
        whole = named and len(keys) <= WHOLE_MAX
        async with self._turn:
            now = self._now()
            for found in forecast(self._snapshot, self._view(now), keys, changes, now, replicas):
                looked += 1
                moved += found.moves
                failed += found.fails
                if named or found.differs or found.pending:
                    shown.append({"template": self._named(found), **found.data(whole=whole)})
                await asyncio.sleep(0)
        return {"looked": looked, "moved": moved, "failed": failed, "forecasts": shown}

    def _named(self, found: Forecast) -> dict[str, str]:
        key = found.template
        kind = self._snapshot.kinds.stored(key.group, key.resource)
        assert kind is not None, "a template's kind is known"
        named = {"apiVersion": kind.api_version, "kind": kind.kind, "name": key.name}
        return {**named, "namespace": key.namespace} if key.namespace else named

    # --- who may, and of what --------------------------------------------------------------------------------

    def _template(self, user: User, namespace: str, ref: Mapping[str, Any], path: str) -> Key:
        """The template that a reference names; a binding stands for its own. Raises 403, 404."""
        api_version, name = str(ref.get("apiVersion") or ""), str(ref.get("kind") or "")
        kind = self._snapshot.kinds.named(api_version, name)
        if kind is None:
            told = (
                f"the hub has no kind {name} in {api_version}; `kubectl api-resources` shows those there are"
            )
            raise StatusError(404, "NotFound", f"{path}: {told}", {"kind": name})
        wanted = str(ref.get("namespace") or namespace)
        if namespace and wanted != namespace:
            raise invalid(errors.invalid(f"{path}.namespace", wanted, "must be the namespace of the request"))
        if bool(wanted) != kind.namespaced:
            told = (
                "needs a namespace"
                if kind.namespaced
                else "has no namespace: ask with the Cluster kind of this review"
            )
            raise invalid(errors.invalid(f"{path}.kind", name, told))
        key = kind.key(wanted, str(ref.get("name") or ""))
        self._check(user, self._get(key))
        found = self._check_there(key)
        if not bindings.is_binding(key):
            return key
        template = bindings.template_key(self._snapshot.kinds, found)
        if template is None or self._snapshot.get(template) is None:
            told = f"the template of {kind.kind} {key.name} is not there"
            raise StatusError(404, "NotFound", told, {"name": key.name, "kind": key.resource})
        self._check(user, self._get(template))
        return template

    def _check_there(self, key: Key) -> Object:
        found = self._snapshot.get(key)
        if found is None:
            kind = self._snapshot.kinds.stored(key.group, key.resource)
            raise status.unknown_resource() if kind is None else status.not_found(kind, key.name)
        return found

    def _check_binding(self, user: User, key: Key) -> Key:
        """The binding of the template at `key`, which `user` may get. Raises 403."""
        kind = self._snapshot.kinds.stored(key.group, key.resource)
        at = bindings.key_for(key.namespace, key.name, kind.kind if kind else "")
        if propagation.propagatable(key):
            self._check(user, _bindings("get", key.namespace, at.name))
        return at

    def _get(self, key: Key) -> Attributes:
        kind = self._snapshot.kinds.stored(key.group, key.resource)
        namespace = key.name if propagation.is_namespace(key) else key.namespace
        version = kind.version if kind is not None else ""
        return Attributes("get", "", True, key.group, version, key.resource, "", namespace, key.name)

    def _check(self, user: User, asked: Attributes) -> None:
        decision = self._authorize(user, asked)
        if not decision.allowed:
            raise denied(user, asked, decision.reason)


def _bindings(verb: str, namespace: str, name: str = "") -> Attributes:
    resource = bindings.BINDINGS if namespace or verb == "list" else bindings.CLUSTER_BINDINGS
    return Attributes(verb, "", True, names.WORK_GROUP, "v1alpha2", resource, "", namespace, name)


def _without(policy: Mapping[str, Any], marker: str) -> dict[str, Any]:
    """Without the policies of one kind but the one that won: the template itself names that."""
    winner = policy.get("name")

    def kept(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [row for row in rows if row["policy"] == winner or not str(row["policy"]).startswith(marker)]

    told = {**policy, "considered": kept(policy["considered"])}
    if "others" in policy:
        told["others"] = kept(policy["others"])
        told["othersCount"] = len(told["others"])
    return told


def _summary(told: Mapping[str, Any]) -> str:
    looked, moved, failed = told["looked"], told["moved"], told["failed"]
    if not looked:
        return "No template is concerned."
    text = (
        f"{moved} of {looked} templates would change"
        if moved
        else f"Nothing would change ({looked} looked at)"
    )
    if looked == 1:
        text = "It would change" if moved else "It would not change"
    if failed:
        text += f"; {'it' if looked == 1 else failed} could not be placed as {'it' if failed == 1 else 'they'} should"
    if told["remaining"]:
        text += f"; {told['remaining']} more were not looked at (at most {TEMPLATES_MAX} a request)"
    return f"{text}."


def _refuse(obj: Object) -> None:
    """422 for what its schema does not allow. Nothing is stored, so nothing has a name."""
    wrong = schemas.validate(placements.kinds()[obj["kind"]].schema, obj)
    own = ("namespace", "managedFields", "creationTimestamp")
    metadata = {field: value for field, value in obj["metadata"].items() if field not in own and value}
    if metadata:
        wrong.append(errors.invalid("metadata", metadata, "must be empty except for namespace"))
    if wrong:
        raise invalid(*wrong)


__all__ = ["GROUP", "TEMPLATES_MAX", "VERSION", "Placements"]
