"""Nobody gives away more than they have: the admission plugin for roles and bindings.

Writing a role takes every permission that the role gives, or the verb `escalate` on it. Writing a binding takes every
permission of the role that it names, or the verb `bind` on that role. As in Kubernetes this is asked on every change but of
owners and finalizers: a label can make a role part of an aggregating one.

It looks at what will be stored, after all other plugins, so that none of them can add a permission behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from towline.hub.api import status
from towline.hub.api.authorization import Rbac
from towline.hub.api.paths import Attributes
from towline.hub.api.plugins import AdmissionRequest, Warnings
from towline.hub.api.user import MASTERS
from towline.kube import rbac
from towline.kube.objects import Object
from towline.kube.rbac import Rule

TOLD_MAX = 100
"""So many missing permissions are listed."""

_ROLES = ("clusterroles", "roles")
_BINDINGS = ("clusterrolebindings", "rolebindings")
_BY_OTHERS = ("ownerReferences", "finalizers", "managedFields", "resourceVersion")


class Escalation:
    """A `Plugin`."""

    def __init__(self, rules: Rbac) -> None:
        self._rules = rules

    def handles(self, request: AdmissionRequest) -> bool:
        kind = request.kind
        return (
            kind.group == rbac.GROUP
            and request.operation != "DELETE"
            and kind.plural in (*_ROLES, *_BINDINGS)
            and MASTERS not in request.user.groups
        )

    async def admit(self, request: AdmissionRequest) -> tuple[Object | None, Warnings]:
        return request.object, ()

    async def validate(self, request: AdmissionRequest) -> Warnings:
        """Raises 403, and 404 for a binding to a role that is not there."""
        new = request.object
        assert new is not None, "only deletions have no object"
        if request.old is not None and _compared(new) == _compared(request.old):
            return ()
        if request.kind.plural in _BINDINGS:
            self._check_binding(request, new)
        else:
            self._check_role(request, new)
        return ()

    def _check_role(self, request: AdmissionRequest, new: Object) -> None:
        # As in Kubernetes, a creation has no name that a rule's resourceNames could mean.
        name = "" if request.operation == "CREATE" else request.key.name
        if self._may(request, "escalate", request.kind.plural, name):
            return
        self._check_held(request, rbac.rules_of(new))
        if _aggregates(new) or _aggregates(request.old):
            # It may gather anything, also later.
            owned, _ = self._rules.rules_for(request.user, "")
            if not rbac.rules_cover(owned, rbac.EVERYTHING):
                raise _forbidden(request, "must have cluster-admin privileges to use the aggregationRule")

    def _check_binding(self, request: AdmissionRequest, new: Object) -> None:
        role = rbac.bound_role(new, request.key.namespace)
        if role is None or self._may(request, "bind", role.resource, role.name):
            return  # the kind's rules refuse what names no role
        rules = self._rules.rules_of(role)
        if rules is None:
            raise status.not_found(request.kind, role.name)  # so Kubernetes names it
        self._check_held(request, rules)

    def _may(self, request: AdmissionRequest, verb: str, resource: str, name: str) -> bool:
        at = Attributes(verb, "", True, rbac.GROUP, "*", resource, "", request.key.namespace, name)
        return self._rules(request.user, at).allowed

    def _check_held(self, request: AdmissionRequest, wanted: Iterable[Rule]) -> None:
        user = request.user
        owned, unresolved = self._rules.rules_for(user, request.key.namespace)
        missing = sorted({str(rule) for rule in rbac.merged(rbac.uncovered(owned, wanted))})
        if not missing:
            return
        groups = " ".join(rbac.quoted(group) for group in user.groups)
        told = "\n".join(missing[:TOLD_MAX])
        if len(missing) > TOLD_MAX:
            told += f"\nand {len(missing) - TOLD_MAX} more"
        if unresolved:
            told += f"; resolution errors: [{unresolved}]"
        raise _forbidden(
            request,
            f"user {rbac.quoted(user.name)} (groups=[{groups}]) is attempting to grant RBAC permissions not currently "
            f"held:\n{told}",
        )


def _compared(obj: Object) -> dict[str, Any]:
    """All that counts as a change: what owners and the garbage collector write does not."""
    metadata = {field: value for field, value in obj["metadata"].items() if field not in _BY_OTHERS}
    return {**obj, "metadata": metadata}


def _aggregates(role: Object | None) -> bool:
    return bool(((role or {}).get("aggregationRule") or {}).get("clusterRoleSelectors"))


def _forbidden(request: AdmissionRequest, message: str) -> status.StatusError:
    kind = request.kind
    return status.forbidden(kind.plural, kind.group, request.key.name, message)
