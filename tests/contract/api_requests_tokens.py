"""The scenario of ServiceAccounts' tokens: what is asked for, what they claim, and what a review says of them."""

from __future__ import annotations

from typing import Any

from tests.contract.api_steps import Space, delete, get, obj, post, put
from tests.contract.differential import Scenario

API = "authentication.k8s.io/v1"
REVIEWS = f"/apis/{API}/tokenreviews"


def tokens() -> Scenario:
    at = Space("tokens")
    accounts, secrets = (
        f"/api/v1/namespaces/{at.name}/serviceaccounts",
        f"/api/v1/namespaces/{at.name}/secrets",
    )
    pods, bot = f"/api/v1/namespaces/{at.name}/pods", f"{accounts}/bot/token"
    container = {"name": "main", "image": "nginx:1.27"}

    def asked(metadata: Any = None, **spec: Any) -> dict[str, Any]:
        told = {"apiVersion": API, "kind": "TokenRequest", "spec": spec}
        return told if metadata is None else {**told, "metadata": metadata}

    def bound(kind: str, name: str, api_version: str = "v1", **more: str) -> dict[str, Any]:
        return asked(boundObjectRef={"apiVersion": api_version, "kind": kind, "name": name, **more})

    def review(token: str, *audiences: str) -> dict[str, Any]:
        spec: dict[str, Any] = {"token": token} if token else {}
        if audiences:
            spec["audiences"] = list(audiences)
        return {"apiVersion": API, "kind": "TokenReview", "spec": spec}

    return Scenario(
        at.name,
        (
            at.made,
            post("bot", accounts, obj("v1", "ServiceAccount", "bot")),
            post("other", accounts, obj("v1", "ServiceAccount", "other")),
            post("plain", bot, asked()),
            post("bare", bot, {}),
            post("named", bot, asked({"name": "bot", "namespace": at.name}, expirationSeconds=7200)),
            post("audiences", bot, asked(audiences=["vault", "x"])),
            post("dry_run", f"{bot}?dryRun=All", asked()),
            post("unknown", bot, asked(audience="x")),
            post("unknown_strict", f"{bot}?fieldValidation=Strict", asked(audience="x")),
            post("other_name", bot, asked({"name": "x"})),
            post("other_namespace", bot, asked({"namespace": "x"})),
            post("other_uid", bot, asked({"uid": "x"})),
            post("nobody", f"{accounts}/none/token", asked()),
            post("short", bot, asked(expirationSeconds=599)),
            post("long", bot, asked(expirationSeconds=2**32 + 1)),
            post("no_number", bot, asked(expirationSeconds="9")),
            post("no_list", bot, asked(audiences="x")),
            post("other_kind", bot, obj("v1", "ConfigMap", "c")),
            post("empty", bot, ""),
            get("get", bot),
            put("put", bot, asked()),
            delete("delete", bot),
            post("secret", secrets, obj("v1", "Secret", "s")),
            post("pod", pods, obj("v1", "Pod", "p", spec={
                "serviceAccountName": "bot", "nodeName": "gone", "containers": [container]})),
            post("to_secret", bot, bound("Secret", "s")),
            post("to_secret_uid", bot, bound("Secret", "s", uid="${secret:metadata.uid}")),
            post("to_other_uid", bot, bound("Secret", "s", uid="x")),
            post("to_pod", bot, bound("Pod", "p")),
            post("to_pod_of_another", f"{accounts}/other/token", bound("Pod", "p")),
            post("to_map", bot, bound("ConfigMap", "c")),
            post("to_deployment", bot, bound("Deployment", "d", "apps/v1")),
            post("to_no_secret", bot, bound("Secret", "none")),
            post("to_no_pod", bot, bound("Pod", "none")),
            post("to_no_node", bot, bound("Node", "none")),
            post("review", REVIEWS, review("${plain:status.token}")),
            post("review_pod", REVIEWS, review("${to_pod:status.token}")),
            post("review_secret", REVIEWS, review("${to_secret:status.token}")),
            post("review_not_for_us", REVIEWS, review("${audiences:status.token}")),
            post("review_audience", REVIEWS, review("${audiences:status.token}", "y", "vault")),
            post("review_no_token", REVIEWS, review("a.b.c")),
            post("review_nothing", REVIEWS, review("")),
            post("review_bare", REVIEWS, {}),
            get("review_get", REVIEWS),
            get("review_named", f"{REVIEWS}/x"),
            delete("secret_gone", f"{secrets}/s"),
            post("review_bound", REVIEWS, review("${to_secret_uid:status.token}")),
            post("token_secret", secrets, {**obj("v1", "Secret", "t"), "type": "kubernetes.io/service-account-token"}),
        ),
    )  # fmt: skip
