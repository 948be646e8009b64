"""Which webhook configurations are taken in and how they are completed, as scenarios for test_api. None is for
anything that the other scenarios write."""

from __future__ import annotations

from typing import Any

from tests.contract.api_steps import Space, delete, obj, patch, post, put
from tests.contract.differential import Scenario

GROUP = "admissionregistration.k8s.io"
VALIDATING = f"/apis/{GROUP}/v1/validatingwebhookconfigurations"
MUTATING = f"/apis/{GROUP}/v1/mutatingwebhookconfigurations"
URL = "https://127.0.0.1:1/x"
SERVICE = {"name": "s", "namespace": "n"}


def webhook(**fields: Any) -> dict[str, Any]:
    rule = {
        "operations": ["CREATE"],
        "apiGroups": ["none.example.com"],
        "apiVersions": ["v1"],
        "resources": ["nothings"],
        **fields.pop("rule", {}),
    }
    made = {
        "name": "w.example.com",
        "clientConfig": {"url": URL},
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }
    return {name: value for name, value in made.items() if value is not None}


def validating(*webhooks: dict[str, Any], name: str = "differ") -> dict[str, Any]:
    return obj(f"{GROUP}/v1", "ValidatingWebhookConfiguration", name, webhooks=list(webhooks))


def mutating(*webhooks: dict[str, Any], name: str = "differ") -> dict[str, Any]:
    return obj(f"{GROUP}/v1", "MutatingWebhookConfiguration", name, webhooks=list(webhooks))


def _client(**service: Any) -> dict[str, Any]:
    return {"clientConfig": {"service": {**SERVICE, **service}}}


def _expression(**fields: Any) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"], **fields}]}


def _conditions(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"matchConditions": [{"name": name, "expression": expression} for name, expression in pairs]}


_BAD: tuple[dict[str, Any], ...] = (
    {"name": ""},
    {"name": "short.name"},
    {"name": "Upper.example.com"},
    {"sideEffects": None},
    {"sideEffects": "Some"},
    {"failurePolicy": "Maybe"},
    {"matchPolicy": "Like"},
    {"timeoutSeconds": 0},
    {"timeoutSeconds": 31},
    {"admissionReviewVersions": None},
    {"admissionReviewVersions": []},
    {"admissionReviewVersions": ["v2"]},
    {"admissionReviewVersions": ["v1", "v1"]},
    {"clientConfig": None},
    {"clientConfig": {}},
    {"clientConfig": {"url": URL, "service": SERVICE}},
    {"clientConfig": {"url": "http://x"}},
    {"clientConfig": {"url": "https://"}},
    {"clientConfig": {"url": "https://u:p@x/?a=b#c"}},
    {"clientConfig": {"url": "x y"}},
    _client(name=""),
    _client(namespace=""),
    _client(port=0),
    _client(port=65536),
    _client(path="a"),
    _client(path="//"),
    _client(path="/a//b"),
    _client(path="/A"),
    {"rule": {"operations": []}},
    {"rule": {"operations": ["*", "CREATE"]}},
    {"rule": {"operations": ["PATCH"]}},
    {"rule": {"apiGroups": []}},
    {"rule": {"apiGroups": ["*", "a"]}},
    {"rule": {"apiVersions": []}},
    {"rule": {"apiVersions": ["", "v1"]}},
    {"rule": {"resources": []}},
    {"rule": {"resources": ["*", "pods"]}},
    {"rule": {"resources": ["*/*", "pods"]}},
    {"rule": {"resources": ["pods/*", "pods/status"]}},
    {"rule": {"resources": ["*/status", "pods/status"]}},
    {"rule": {"resources": [""]}},
    {"rule": {"scope": "World"}},
    {"objectSelector": {"matchLabels": {"?": "?"}}},
    {"objectSelector": _expression(operator="Near")},
    {"namespaceSelector": _expression(values=[])},
    {"namespaceSelector": _expression(operator="Exists")},
    {"namespaceSelector": _expression(key="?", values=["?"])},
    _conditions(("a", "1 +")),
    _conditions(("a", "'text'")),
    _conditions(("a", "nothing")),
    _conditions(("", "true")),
    _conditions(("?", " ")),
    _conditions(("a", "true"), ("a", "true")),
)


def configurations() -> Scenario:
    at = Space("webhooks")
    full = webhook(
        **_client(path="/p"),
        failurePolicy="Ignore",
        matchPolicy="Exact",
        timeoutSeconds=3,
        namespaceSelector=_expression(),
        objectSelector={"matchLabels": {"a": "b"}},
        **_conditions(("a", "request.userInfo.username != 'x' && has(object.metadata)")),
    )
    return Scenario(
        at.name,
        (
            post("validating", VALIDATING, validating(webhook())),
            post("again", VALIDATING, validating(webhook())),
            post("none", VALIDATING, validating(name="none")),
            post("full", VALIDATING, validating(full, name="full")),
            post("mutating", MUTATING, mutating(webhook())),
            post("mutating_again", MUTATING, mutating(webhook(reinvocationPolicy="IfNeeded"), name="again")),
            post("mutating_bad", MUTATING, mutating(webhook(reinvocationPolicy="Always"), name="bad")),
            put("no_revision", f"{VALIDATING}/differ", validating(webhook(timeoutSeconds=5))),
            patch("replaced", f"{VALIDATING}/differ", {"webhooks": [webhook(timeoutSeconds=5)]}),
            patch("patched", f"{MUTATING}/differ", {"metadata": {"labels": {"a": "b"}}}),
            post("twice", VALIDATING, validating(webhook(), webhook(), name="twice")),
            *(
                post(f"bad_{n}", VALIDATING, validating(webhook(**bad), name="bad"))
                for n, bad in enumerate(_BAD)
            ),
            *(delete(f"delete_{name}", f"{VALIDATING}/{name}") for name in ("differ", "none", "full")),
            *(delete(f"delete_mutating_{name}", f"{MUTATING}/{name}") for name in ("differ", "again")),
        ),
    )


SCENARIOS = (configurations(),)
