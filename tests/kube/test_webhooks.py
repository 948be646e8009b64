"""Webhooks: for which writes, in which order, what answers mean, and which configurations are refused."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest

from towline.kube import selectors, webhook_validation, webhooks
from towline.kube.objects import Object
from towline.kube.webhooks import BadAnswer, ConditionError, Request, Resource, Round, Rule, Webhook

DEPLOYMENTS = Resource("apps", "v1", "deployments", ("apps", "v1", "Deployment"))
OLDER = Resource("apps", "v1beta1", "deployments", ("apps", "v1beta1", "Deployment"))
NAMESPACES = Resource("", "v1", "namespaces", ("", "v1", "Namespace"))
NODES = Resource("", "v1", "nodes", ("", "v1", "Node"))
OBJECT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
}
WRITE = Request("CREATE", DEPLOYMENTS, (OLDER,), "", "shop", "web", OBJECT, None, {"team": "a"})


def rule(*resources: str, **fields: Any) -> Rule:
    [webhook] = webhooks.webhooks_of(
        {
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "c"},
            "webhooks": [
                {
                    "name": "a.b.c",
                    "clientConfig": {"url": "https://x"},
                    "rules": [
                        {
                            "operations": fields.get("operations", ["CREATE"]),
                            "apiGroups": fields.get("groups", ["apps"]),
                            "apiVersions": fields.get("versions", ["v1"]),
                            "resources": list(resources) or ["deployments"],
                            "scope": fields.get("scope", "*"),
                        }
                    ],
                }
            ],
        }
    )
    return webhook.rules[0]


def hook(*rules: Rule, **fields: Any) -> Webhook:
    return Webhook("a.b.c", "c", "https://x", rules=rules or (rule(),), **fields)


# --- which -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "request_", "fits"),
    [
        (rule(), WRITE, True),
        (rule(operations=["UPDATE", "DELETE"]), WRITE, False),
        (rule(operations=["*"]), WRITE, True),
        (rule(groups=["*"]), WRITE, True),
        (rule(groups=[""]), WRITE, False),
        (rule(versions=["*"]), WRITE, True),
        (rule(versions=["v2"]), WRITE, False),
        (rule("*"), WRITE, True),
        (rule("*/*"), WRITE, True),
        (rule("deployments/*"), WRITE, True),
        (rule("deployments/scale"), WRITE, False),
        (rule("pods", "deployments"), WRITE, True),
        (rule(), replace(WRITE, subresource="scale"), False),
        (rule("*"), replace(WRITE, subresource="scale"), False),
        (rule("*/*"), replace(WRITE, subresource="scale"), True),
        (rule("*/scale"), replace(WRITE, subresource="scale"), True),
        (rule("deployments/*"), replace(WRITE, subresource="scale"), True),
        (rule("deployments/status"), replace(WRITE, subresource="scale"), False),
        (rule(scope="Namespaced"), WRITE, True),
        (rule(scope="Cluster"), WRITE, False),
        (rule("nodes", groups=[""], scope="Cluster"), replace(WRITE, resource=NODES, namespace=""), True),
        (rule("nodes", groups=[""], scope="Namespaced"), replace(WRITE, resource=NODES, namespace=""), False),
        (rule("*", groups=["*"], scope="Cluster"), replace(WRITE, resource=NAMESPACES), True),
        (rule("*", groups=["*"], scope="Namespaced"), replace(WRITE, resource=NAMESPACES), False),
    ],
)
def test_rules(one: Rule, request_: Request, fits: bool) -> None:
    exact = hook(one, equivalent=False)
    assert webhooks.asked_as(exact, request_) == (request_.resource if fits else None)


def test_another_served_version_is_equivalent_but_the_same_goes_first() -> None:
    older = hook(rule(versions=["v1beta1"]))
    assert webhooks.asked_as(older, WRITE) == OLDER
    assert webhooks.asked_as(replace(older, equivalent=False), WRITE) is None
    assert webhooks.asked_as(hook(rule(versions=["v1beta1"]), rule()), WRITE) == DEPLOYMENTS
    asked = webhooks.review(older, WRITE, OLDER, "u")["request"]
    assert asked["object"]["apiVersion"] == "apps/v1beta1"
    assert (asked["kind"]["version"], asked["requestKind"]["version"]) == ("v1beta1", "v1")


def chosen(**labels: str) -> selectors.Selector:
    return selectors.from_object({"matchLabels": labels})


@pytest.mark.parametrize(
    ("webhook", "request_", "asked"),
    [
        (hook(namespaces=chosen(team="a")), WRITE, True),
        (hook(namespaces=chosen(team="b")), WRITE, False),
        (hook(objects=chosen(app="web")), WRITE, True),
        (hook(objects=chosen(app="db")), WRITE, False),
        (hook(objects=chosen(app="db")), replace(WRITE, old={"metadata": {"labels": {"app": "db"}}}), True),
        (hook(objects=chosen(app="db")), replace(WRITE, object=None, old=None), False),
        (
            hook(rule("nodes", groups=["*"]), namespaces=chosen(team="b")),
            replace(WRITE, resource=NODES, namespace=""),
            True,
        ),
        # A namespace that is written is chosen by the labels that it will have; one that goes, by those it has.
        (
            hook(rule("namespaces", groups=["*"]), namespaces=chosen(app="web")),
            replace(WRITE, resource=NAMESPACES),
            True,
        ),
        (
            hook(rule("namespaces", groups=["*"], operations=["*"]), namespaces=chosen(team="a")),
            replace(WRITE, resource=NAMESPACES, operation="DELETE", object=None, old=OBJECT),
            True,
        ),
    ],
)
def test_selectors(webhook: Webhook, request_: Request, asked: bool) -> None:
    assert (webhooks.asked_as(webhook, request_) is not None) is asked


@pytest.mark.parametrize(
    ("expressions", "ignore", "expected"),
    [
        (["true"], False, True),
        (["object.metadata.name == 'web'", "oldObject == null"], False, True),
        (["request.operation == 'CREATE' && request.namespace == 'shop'"], False, True),
        (["request.kind.group == 'apps' && !has(request.subResource)"], False, True),
        (["object.metadata.name == 'db'"], False, False),
        (["object.nothing == 1"], False, None),
        (["object.nothing == 1"], True, False),
        (["object.nothing == 1", "false"], False, False),
        (["true", "object.nothing == 1"], False, None),
    ],
)
def test_conditions(expressions: list[str], ignore: bool, expected: bool | None) -> None:
    webhook = hook(conditions=tuple(expressions), ignore=ignore)
    if expected is None:
        with pytest.raises(ConditionError, match="nothing"):
            webhooks.asked_as(webhook, WRITE)
    else:
        assert (webhooks.asked_as(webhook, WRITE) is not None) is expected


@pytest.mark.parametrize("ignore", [False, True])
def test_conditions_have_a_budget(ignore: bool) -> None:
    """What an object costs depends on who sends it; it ends long before it could stop the server."""
    large = {**OBJECT, "data": {f"key-{n}": "x" * 1000 for n in range(1000)}}
    costly = "object.data.all(k, object.data.all(l, object.data[k].contains(object.data[l])))"
    webhook = hook(conditions=(costly,), ignore=ignore)
    assert webhooks.asked_as(webhook, replace(WRITE, object={**OBJECT, "data": {"a": "b"}})) is not None
    if ignore:
        assert webhooks.asked_as(webhook, replace(WRITE, object=large)) is None
        return
    with pytest.raises(ConditionError, match="cost budget"):
        webhooks.asked_as(webhook, replace(WRITE, object=large))


@pytest.mark.parametrize(
    ("told", "again"),
    [
        ("a. b. c.", ""),
        ("a. b! c.", "a"),
        ("a. b. c!", "ab"),
        ("a! b. c.", ""),
        ("a! b! c!", "ab"),
        ("b! c.", ""),
    ],
)
def test_who_is_asked_again(told: str, again: str) -> None:
    """`a!`: a was asked and changed the object. c has the policy Never."""
    hooks = {name: replace(hook(), name=name, reinvoked=name != "c") for name in "abc"}
    order = Round()
    for step in told.split():
        order.told(hooks[step[0]], changed=step.endswith("!"))
    assert "".join(name for name, one in hooks.items() if order.due(one)) == again


# --- answers ---------------------------------------------------------------------------------------------------


def answer(**response: Any) -> bytes:
    api = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    return orjson.dumps({**api, "response": {"uid": "u", "allowed": True, **response}})


def encoded(value: Any) -> str:
    return base64.b64encode(orjson.dumps(value)).decode()


def test_answers() -> None:
    read = webhooks.answered(hook(), answer(warnings=["a", "a", "b" * 999]), "u")
    assert (read.denied, read.patch, read.warnings) == (None, (), ("a", "b" * 256))
    operations = [{"op": "remove", "path": "/x"}]
    patch = answer(patch=encoded(operations), patchType="JSONPatch")
    assert webhooks.answered(hook(mutating=True), patch, "u").patch == operations
    older = hook(review_version="v1beta1")
    assert webhooks.answered(older, orjson.dumps({"response": {"allowed": True}}), "u")


@pytest.mark.parametrize(
    ("body", "mutating", "told"),
    [
        (b"", False, "json parse error"),
        (b"[]", False, "response was absent"),
        (answer(uid="x"), False, 'expected response.uid="u", got "x"'),
        (answer().replace(b"/v1", b"/v2"), False, "Kind=AdmissionReview"),
        (answer(allowed="yes"), False, "wrong type"),
        (answer(warnings="w"), False, "wrong type"),
        (answer(auditAnnotations=[1]), False, "wrong type"),
        (answer(patch="W10="), False, "may not return response.patch"),
        (answer(patchType="JSONPatch"), False, "may not return response.patchType"),
        (answer(patch="W10="), True, "but not response.patchType"),
        (answer(patchType="JSONPatch"), True, "but not response.patch"),
        (answer(patch="W10=", patchType="Merge"), True, 'unsupported patch type "Merge"'),
        (answer(patch="?", patchType="JSONPatch"), True, "undecodable patch"),
        (answer(patch=encoded({}), patchType="JSONPatch"), True, "undecodable patch"),
    ],
)
def test_bad_answers(body: bytes, mutating: bool, told: str) -> None:
    with pytest.raises(BadAnswer, match=told):
        webhooks.answered(hook(mutating=mutating), body, "u")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, {"message": "without explanation", "code": 400, "status": "Failure"}),
        ({"code": 200, "status": "Success"}, {"code": 400, "status": "Failure"}),
        ({"code": 418, "reason": "Tea"}, {"message": "request: Tea", "reason": "Tea", "code": 418}),
        ({"message": "no", "details": {"kind": "x"}}, {"message": "request: no", "details": {"kind": "x"}}),
    ],
)
def test_denials(status: Any, expected: dict[str, Any]) -> None:
    denied = webhooks.answered(hook(), answer(allowed=False, status=status), "u").denied
    assert denied is not None
    message = expected.pop("message", "")
    assert message in denied["message"]
    assert denied["message"].startswith('admission webhook "a.b.c" denied the request')
    assert expected.items() <= denied.items()


# --- configurations --------------------------------------------------------------------------------------------


def configured(**changes: Any) -> Object:
    webhook = {
        "name": "deny.example.com",
        "clientConfig": {"url": "https://example.com/deny"},
        "rules": [
            {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
        ],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **changes,
    }
    return {"kind": "MutatingWebhookConfiguration", "metadata": {"name": "c"}, "webhooks": [webhook]}


def ruled(**changes: Any) -> Object:
    rule = {**configured()["webhooks"][0]["rules"][0], **changes}
    return configured(rules=[rule])


def service(**fields: Any) -> Object:
    return configured(clientConfig={"service": {"name": "s", "namespace": "n", "port": 443, **fields}})


def url(text: str) -> Object:
    return configured(clientConfig={"url": text})


def conditioned(*conditions: tuple[str, str]) -> Object:
    return configured(matchConditions=[{"name": n, "expression": e} for n, e in conditions])


def where(obj: Object, old: Object | None = None) -> list[str]:
    prefix = "webhooks[0]."
    return [
        error.path.removeprefix(prefix) for error in webhook_validation.validate_admission_webhooks(obj, old)
    ]


EXPRESSION = {"key": "k", "operator": "In", "values": []}


@pytest.mark.parametrize(
    ("obj", "wrong"),
    [
        (configured(), []),
        (configured(name=""), ["name"]),
        (configured(name="deny.example"), ["name"]),
        (configured(name="Deny.example.com"), ["name"]),
        (configured(sideEffects=None), ["sideEffects"]),
        (configured(sideEffects="Some"), ["sideEffects"]),
        (configured(failurePolicy="Maybe", matchPolicy="Like"), ["failurePolicy", "matchPolicy"]),
        (configured(reinvocationPolicy="Always"), ["reinvocationPolicy"]),
        (configured(timeoutSeconds=0), ["timeoutSeconds"]),
        (configured(timeoutSeconds=31), ["timeoutSeconds"]),
        (configured(admissionReviewVersions=[]), ["admissionReviewVersions"]),
        (configured(admissionReviewVersions=["v2"]), ["admissionReviewVersions"]),
        (configured(admissionReviewVersions=["v1", "v1"]), ["admissionReviewVersions[1]"]),
        (configured(admissionReviewVersions=["v1", "?"]), ["admissionReviewVersions[1]"]),
        (configured(clientConfig={}), ["clientConfig"]),
        (configured(clientConfig={"url": "https://x", "service": {}}), ["clientConfig"]),
        (url("http://x"), ["clientConfig.url"]),
        (url("https://"), ["clientConfig.url"]),
        (url("https://u@x"), ["clientConfig.url"]),
        (url("https://x/?a=b#c"), ["clientConfig.url"] * 2),
        (url("https://x:port"), ["clientConfig.url"]),
        (url("https://x y"), ["clientConfig.url"]),
        (url("x y"), ["clientConfig.url"] * 2),
        (service(), []),
        (service(path="/a/b-c/"), []),
        (service(name=""), ["clientConfig.service.name"]),
        (service(namespace=""), ["clientConfig.service.namespace"]),
        (service(port=0), ["clientConfig.service.port"]),
        (service(path="a"), ["clientConfig.service.path"] * 2),
        (service(path="//"), ["clientConfig.service.path"]),
        (service(path="/a//b"), ["clientConfig.service.path"]),
        (service(path="/A"), ["clientConfig.service.path"]),
        (ruled(operations=[]), ["rules[0].operations"]),
        (ruled(operations=["*", "CREATE"]), ["rules[0].operations"]),
        (ruled(operations=["PATCH"]), ["rules[0].operations[0]"]),
        (ruled(apiGroups=[]), ["rules[0].apiGroups"]),
        (ruled(apiGroups=["*", "apps"]), ["rules[0].apiGroups"]),
        (ruled(apiVersions=["*", "v1"]), ["rules[0].apiVersions"]),
        (ruled(apiVersions=[""]), ["rules[0].apiVersions[0]"]),
        (ruled(resources=[]), ["rules[0].resources"]),
        (ruled(resources=["*/*", "pods"]), ["rules[0].resources"]),
        (ruled(resources=["*", "pods"]), ["rules[0].resources"]),
        (ruled(resources=["*", "pods/status"]), []),
        (ruled(resources=["pods/*", "pods/status"]), ["rules[0].resources[1]"]),
        (ruled(resources=["*/status", "pods/status"]), ["rules[0].resources[1]"]),
        (ruled(resources=[""]), ["rules[0].resources[0]"]),
        (ruled(scope="World"), ["rules[0].scope"]),
        (configured(objectSelector={"matchLabels": {"?": "a"}}), ["objectSelector.matchLabels"]),
        (
            configured(namespaceSelector={"matchExpressions": [EXPRESSION]}),
            ["namespaceSelector.matchExpressions[0].values"],
        ),
        (conditioned(("a", "true"), ("b", "object.x == 1")), []),
        (conditioned(("a", "true"), ("a", "true")), ["matchConditions[1].name"]),
        (conditioned(("", " ")), ["matchConditions[0].expression", "matchConditions[0].name"]),
        (conditioned(("?", "1 +")), ["matchConditions[0].expression", "matchConditions[0].name"]),
        (conditioned(("a", "'text'")), ["matchConditions[0].expression"]),
        (conditioned(("a", "nothing")), ["matchConditions[0].expression"]),
        (conditioned(*(("a", "true") for _ in range(65))), ["matchConditions"]),
    ],
)
def test_configurations(obj: Object, wrong: list[str]) -> None:
    assert where(obj) == wrong


def test_names_are_unique_and_stored_expressions_stay() -> None:
    [webhook] = configured()["webhooks"]
    assert where({"webhooks": [webhook, webhook]}) == ["webhooks[1].name"]
    broken = conditioned(("a", "nothing"))
    assert where(broken, broken) == []


def test_a_service_is_a_name_of_the_cluster() -> None:
    [webhook] = webhooks.webhooks_of(service(path="/check", port=8443))
    assert webhook.url == "https://s.n.svc:8443/check"
    [webhook] = webhooks.webhooks_of(configured(clientConfig={"service": {"name": "s", "namespace": "n"}}))
    assert webhook.url == "https://s.n.svc:443/"
