"""Admission webhooks: which of them a write is for, what they are asked, and what their answers mean. Pure.

As in Kubernetes: a webhook is asked when a rule, its selectors and all its match conditions fit. With the match policy
Equivalent a rule also fits that names another served version of the resource; then the webhook sees the object in that version.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from towline.kube import cel, cel_costs, selectors
from towline.kube.objects import Object
from towline.kube.selectors import Selector

GROUP = "admissionregistration.k8s.io"
MUTATING, VALIDATING = "mutatingwebhookconfigurations", "validatingwebhookconfigurations"
REVIEW_VERSIONS = ("v1", "v1beta1")
"""Versions of AdmissionReview that are spoken."""
CONDITIONS_COST_MAX = 2_500_000
"""What the conditions of one webhook may cost together (`cel_costs`)."""
CONDITION_VARIABLES = {"object": cel.DYN, "oldObject": cel.DYN, "request": cel.DYN}

TOLD_MAX, TEXT_MAX = 16, 256
"""How many warnings and audit annotations of one webhook are told, and how many characters of each."""

_DENIED = 400
_NAMESPACES = ("", "namespaces")


class ConditionError(Exception):
    """Match conditions that did not come to a value, of a webhook that must not be passed by."""


class BadAnswer(Exception):
    """What came back is no answer to what was asked. Counts as a failed call."""


class Resource(NamedTuple):
    """A resource in one version, and the kind of its objects there. The kind of a scale subresource is autoscaling/v1 Scale."""

    group: str
    version: str
    plural: str
    kind: tuple[str, str, str]
    """Group, version, kind."""


Convert = Callable[[Object, Resource], Object]
"""An object in the version of a resource."""


def same_fields(obj: Object, resource: Resource) -> Object:
    """For versions that differ in apiVersion only."""
    group, version, _ = resource.kind
    api_version = f"{group}/{version}" if group else version
    return obj if obj.get("apiVersion") == api_version else {**obj, "apiVersion": api_version}


@dataclass(frozen=True, slots=True)
class Request:
    """A write. `equivalents`: the resource's other served versions. `namespace` of a Namespace is its own name. `labels` are
    those of the object's namespace. `user` is a UserInfo, `options` CreateOptions, UpdateOptions or DeleteOptions."""

    operation: str
    resource: Resource
    equivalents: tuple[Resource, ...] = ()
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    object: Object | None = None
    old: Object | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    user: Object = field(default_factory=dict)
    dry_run: bool = False
    options: Object = field(default_factory=dict)
    convert: Convert = same_fields


class Rule(NamedTuple):
    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    """(resource, subresource), each may be `*`."""
    scope: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook of one configuration. `conditions` are expressions. `ca_bundle` is PEM, empty for the system's roots."""

    name: str
    configuration: str
    url: str
    mutating: bool = False
    ca_bundle: bytes = b""
    rules: tuple[Rule, ...] = ()
    namespaces: Selector = selectors.EVERYTHING
    objects: Selector = selectors.EVERYTHING
    equivalent: bool = True
    conditions: tuple[str, ...] = ()
    ignore: bool = False
    """Failure policy Ignore."""
    timeout_seconds: int = 10
    dry_run: bool = True
    """Has no side effects in a dry run."""
    reinvoked: bool = False
    """Reinvocation policy IfNeeded."""
    review_version: str = "v1"


@dataclass(frozen=True, slots=True)
class Answer:
    """`patch` are the operations of a JSON patch. `denied` is the Status to answer, None when the write is allowed."""

    denied: Object | None = None
    patch: Sequence[Any] = ()
    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    """For the audit log, by webhook and key."""


# --- which webhooks --------------------------------------------------------------------------------------------


def webhooks_of(configuration: Object) -> tuple[Webhook, ...]:
    """The webhooks of a stored configuration of either kind."""
    name = str(configuration["metadata"]["name"])
    mutating = configuration["kind"] == "MutatingWebhookConfiguration"
    return tuple(_webhook(name, webhook, mutating) for webhook in configuration.get("webhooks") or ())


def exempt(group: str, plural: str) -> bool:
    """Whether no webhook is ever asked: a broken one could not be taken away."""
    return group == GROUP and plural in (MUTATING, VALIDATING)


def asked_as(webhook: Webhook, request: Request) -> Resource | None:
    """The version of the resource in which `webhook` is asked about `request`; None when it is not. Raises ConditionError."""
    found = _ruled(webhook, request)
    if found is None or not _selected(webhook, request):
        return None
    if webhook.conditions and not _conditions_hold(webhook, request, found):
        return None
    return found


def _ruled(webhook: Webhook, request: Request) -> Resource | None:
    if any(_fits(rule, request, request.resource) for rule in webhook.rules):
        return request.resource
    if webhook.equivalent:
        for rule in webhook.rules:
            for other in request.equivalents:
                if _fits(rule, request, other):
                    return other
    return None


def _fits(rule: Rule, request: Request, resource: Resource) -> bool:
    cluster_wide = not request.namespace or (resource.group, resource.plural) == _NAMESPACES
    return (
        (request.operation in rule.operations or "*" in rule.operations)
        and (resource.group in rule.groups or "*" in rule.groups)
        and (resource.version in rule.versions or "*" in rule.versions)
        and rule.scope in ("*", "Cluster" if cluster_wide else "Namespaced")
        and any(
            plural in ("*", resource.plural) and subresource in ("*", request.subresource)
            for plural, subresource in rule.resources
        )
    )


def _selected(webhook: Webhook, request: Request) -> bool:
    if webhook.namespaces and request.namespace and not webhook.namespaces.matches(_space_labels(request)):
        return False
    if not webhook.objects:
        return True
    return any(
        obj is not None and webhook.objects.matches((obj.get("metadata") or {}).get("labels"))
        for obj in (request.object, request.old)
    )


def _space_labels(request: Request) -> Mapping[str, str]:
    """The namespace's labels; of one that is just written, as it will be."""
    if (
        (request.resource.group, request.resource.plural) == _NAMESPACES
        and not request.subresource
        and request.object is not None
    ):
        return request.object["metadata"].get("labels") or {}
    return request.labels


def _conditions_hold(webhook: Webhook, request: Request, resource: Resource) -> bool:
    """One that is false outweighs one that fails; what fails then passes by a webhook whose failures are ignored."""
    variables = {
        "object": _in_version(request, request.object, resource),
        "oldObject": _in_version(request, request.old, resource),
        "request": _shown(request, resource),
    }
    sizes = {name: cel_costs.ValueSize([value]) for name, value in variables.items()}
    budget = CONDITIONS_COST_MAX
    failed: list[str] = []
    for expression in webhook.conditions:
        try:
            program = _program(expression)
            budget -= cel_costs.cost(program.tree, sizes)
            if budget < 0:
                failed.append("validation failed due to running out of cost budget")
                break
            if program.evaluate(variables) is not True:
                return False
        except cel.CelError as error:
            failed.append(f"expression '{expression}' resulted in error: {error}")
    if failed and not webhook.ignore:
        raise ConditionError(failed[0] if len(failed) == 1 else f"[{', '.join(failed)}]")
    return not failed


@lru_cache(maxsize=1024)
def _program(expression: str) -> cel.Program:
    return condition(expression)


def condition(expression: str) -> cel.Program:
    """A compiled match condition. Raises CelError."""
    return cel.compile(expression, CONDITION_VARIABLES, cel.BOOL)


# --- in which order --------------------------------------------------------------------------------------------


class Round:
    """Who of the mutating webhooks is asked about one write: first each one, then those with the policy IfNeeded after which
    another one changed the object. Changes of the second time count too, for those that are still to come then."""

    def __init__(self) -> None:
        self._asked: list[Webhook] = []
        self._again: list[Webhook] = []

    def due(self, webhook: Webhook) -> bool:
        """Whether to ask `webhook` the second time."""
        return webhook in self._again

    def told(self, webhook: Webhook, *, changed: bool) -> None:
        """`webhook` was asked."""
        if changed:
            self._again += self._asked
            self._asked = []
        if webhook.reinvoked:
            self._asked.append(webhook)


# --- question and answer ---------------------------------------------------------------------------------------


def review(webhook: Webhook, request: Request, resource: Resource, uid: str) -> Object:
    """The AdmissionReview that asks `webhook`, with the object in the version of `resource`."""
    return {
        "kind": "AdmissionReview",
        "apiVersion": f"admission.k8s.io/{webhook.review_version}",
        "request": {
            "uid": uid,
            **_shown(request, resource),
            "object": _in_version(request, request.object, resource),
            "oldObject": _in_version(request, request.old, resource),
        },
    }


def _in_version(request: Request, obj: Object | None, resource: Resource) -> Object | None:
    return None if obj is None else request.convert(obj, resource)


def answered(webhook: Webhook, body: bytes, uid: str) -> Answer:
    """What the body of a webhook's answer says. Raises BadAnswer."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadAnswer(
            f"failed to call webhook: couldn't get version/kind; json parse error: {error}"
        ) from None
    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict):
        raise BadAnswer("received invalid webhook response: webhook response was absent")
    wanted = f"admission.k8s.io/{webhook.review_version}"
    if webhook.review_version != "v1beta1":  # nobody checked these of the first version
        if response.get("uid") != uid:
            told = f'expected response.uid="{uid}", got "{response.get("uid") or ""}"'
            raise BadAnswer(f"received invalid webhook response: {told}")
        if (answer.get("apiVersion"), answer.get("kind")) != (wanted, "AdmissionReview"):
            told = (
                f"expected webhook response of {wanted}, Kind=AdmissionReview, "
                f"got {answer.get('apiVersion') or ''}, Kind={answer.get('kind') or ''}"
            )
            raise BadAnswer(f"received invalid webhook response: {told}")
    allowed = response.get("allowed") or False
    warnings = response.get("warnings") or []
    annotations = response.get("auditAnnotations") or {}
    if not isinstance(allowed, bool) or not _texts(warnings) or not isinstance(annotations, dict):
        raise BadAnswer("received invalid webhook response: a field of the response is of a wrong type")
    return Answer(
        denied=None if allowed else _denial(webhook, response.get("status")),
        patch=_patch(response, webhook.mutating) if allowed else (),
        warnings=tuple(dict.fromkeys(told[:TEXT_MAX] for told in warnings[:TOLD_MAX])),
        annotations={
            f"{webhook.name}/{key[:TEXT_MAX]}": str(value)[:TEXT_MAX]
            for key, value in list(annotations.items())[:TOLD_MAX]
        },
    )


def _patch(response: Mapping[str, Any], mutating: bool) -> Sequence[Any]:
    patch, patch_type = response.get("patch"), response.get("patchType")
    invalid = "received invalid webhook response: "
    if not mutating:
        for name in ("patch", "patchType"):
            if response.get(name):
                raise BadAnswer(f"{invalid}validating webhook may not return response.{name}")
        return ()
    if not patch:
        if patch_type:
            raise BadAnswer(f"{invalid}webhook returned response.patchType but not response.patch")
        return ()
    if not patch_type:
        raise BadAnswer(f"{invalid}webhook returned response.patch but not response.patchType")
    if patch_type != "JSONPatch":
        raise BadAnswer(f'unsupported patch type "{patch_type}"')
    try:
        operations = orjson.loads(base64.b64decode(patch, validate=True))
    except (TypeError, binascii.Error, ValueError) as error:
        raise BadAnswer(f"received undecodable patch in webhook response: {error}") from None
    if operations is not None and not isinstance(operations, list):
        raise BadAnswer(
            "received undecodable patch in webhook response: a JSON patch is a list of operations"
        )
    return operations or ()


def _denial(webhook: Webhook, status: Any) -> Object:
    """A webhook may answer any Status, but none that looks like a success."""
    status = status if isinstance(status, dict) else {}
    told = f'admission webhook "{webhook.name}" denied the request'
    why = status.get("message") or status.get("reason")
    code = status.get("code")
    kept = {name: status[name] for name in ("metadata", "status", "reason", "details") if status.get(name)}
    if kept.get("status", "Success") == "Success":
        kept["status"] = "Failure"
    kept["message"] = f"{told}: {why}" if why else f"{told} without explanation"
    kept["code"] = code if isinstance(code, int) and _DENIED <= code <= 599 else _DENIED
    return kept


def _shown(request: Request, resource: Resource) -> Object:
    """The request without its objects."""
    of = request.resource
    shown: Object = {"kind": _kind(resource), "resource": _resource(resource)}
    if request.subresource:
        shown["subResource"] = request.subresource
    shown |= {"requestKind": _kind(of), "requestResource": _resource(of)}
    if request.subresource:
        shown["requestSubResource"] = request.subresource
    if request.name:
        shown["name"] = request.name
    if request.namespace:
        shown["namespace"] = request.namespace
    return {
        **shown,
        "operation": request.operation,
        "userInfo": request.user,
        "dryRun": request.dry_run,
        "options": request.options,
    }


def _kind(resource: Resource) -> Object:
    group, version, kind = resource.kind
    return {"group": group, "version": version, "kind": kind}


def _resource(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


# --- configurations --------------------------------------------------------------------------------------------


def _webhook(configuration: str, webhook: Mapping[str, Any], mutating: bool) -> Webhook:
    client = webhook["clientConfig"]
    return Webhook(
        name=webhook["name"],
        configuration=configuration,
        url=client.get("url") or _service_url(client["service"]),
        mutating=mutating,
        ca_bundle=_decoded(client.get("caBundle") or ""),
        rules=tuple(_rule(rule) for rule in webhook.get("rules") or ()),
        namespaces=selectors.from_object(webhook.get("namespaceSelector") or {}),
        objects=selectors.from_object(webhook.get("objectSelector") or {}),
        equivalent=webhook.get("matchPolicy", "Equivalent") == "Equivalent",
        conditions=tuple(c["expression"].strip() for c in webhook.get("matchConditions") or ()),
        ignore=webhook.get("failurePolicy") == "Ignore",
        timeout_seconds=webhook.get("timeoutSeconds") or 10,
        dry_run=webhook.get("sideEffects") in ("None", "NoneOnDryRun"),
        reinvoked=webhook.get("reinvocationPolicy") == "IfNeeded",
        review_version=next(
            (v for v in webhook.get("admissionReviewVersions") or () if v in REVIEW_VERSIONS), "v1"
        ),
    )


def _decoded(bundle: str) -> bytes:
    """What is no base64 is no certificate either: nobody is trusted then."""
    try:
        return base64.b64decode(bundle)
    except binascii.Error:
        return b"?"


def _service_url(service: Mapping[str, Any]) -> str:
    path = str(service.get("path") or "").removeprefix("/")
    return f"https://{service['name']}.{service['namespace']}.svc:{service.get('port') or 443}/{path}"


def _rule(rule: Mapping[str, Any]) -> Rule:
    parts = (str(resource).partition("/") for resource in rule.get("resources") or ())
    return Rule(
        operations=frozenset(rule.get("operations") or ()),
        groups=frozenset(rule.get("apiGroups") or ()),
        versions=frozenset(rule.get("apiVersions") or ()),
        resources=tuple((plural, subresource) for plural, _, subresource in parts),
        scope=rule.get("scope") or "*",
    )
