"""Reviews of placement through the API: what they answer, whom they refuse, what they keep to themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.api.served import ADMIN, Answer, Served, end, serve
from tests.decide.test_doubt import EVICT
from tests.decide.test_overrides import over
from tests.decide.world import cluster, configmap, deployment, policy, selector
from towline.cli.changes import lost
from towline.cli.whatif import forecasts
from towline.hub.api.authorization import Rbac
from towline.hub.api.placements import TEMPLATES_MAX, Placements
from towline.hub.api.user import User
from towline.hub.decide import propagation
from towline.hub.decide.explaining import Recorded
from towline.hub.decide.plan import Put
from towline.hub.decide.scheduling import View
from towline.hub.store.cache import Cache
from towline.hub.store.contract import Write
from towline.kube.names import TAINT_DRAIN, TAINT_UNREACHABLE
from towline.kube.objects import Key, encode, with_metadata

ROOT = "/apis/towline.io/v1alpha1"
EXPLAIN = f"{ROOT}/namespaces/shop/placementexplanations"
FORECAST = f"{ROOT}/namespaces/shop/placementforecasts"
WEB = Key("apps", "deployments", "shop", "web")
ABOUT_WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
ANN = User("ann", ("system:authenticated",))
RULES = {
    "deployments": {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]},
    "bindings": {
        "verbs": ["get", "list"],
        "apiGroups": ["work.karmada.io"],
        "resources": ["resourcebindings"],
    },
    "clusters": {"verbs": ["list"], "apiGroups": ["cluster.karmada.io"], "resources": ["clusters"]},
    "policies": {"verbs": ["list"], "apiGroups": ["policy.karmada.io"], "resources": ["*"]},
    "reviews": {"verbs": ["create"], "apiGroups": ["towline.io"], "resources": ["*"]},
}


class Decisions:
    """What a hub's loop does and has on record, for one template when a test says so."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._record: dict[Key, Recorded] = {}

    def reviews(self, cache: Cache, rbac: Rbac) -> Placements:
        return Placements(
            cache, rbac, view=self._view, recorded=self._record.get, now=lambda: self._served.clock
        )

    def _view(self, now: float) -> View:
        return View.of(self._served.cache.snapshot, now)

    async def decide(self, key: Key) -> None:
        cache, now = self._served.cache, self._served.clock
        plan = propagation.decide(cache.snapshot, key, now)
        if plan.details:
            self._record[key] = Recorded(now, cache.revision, plan.reasons, plan.details)
        puts = [write for write in plan.writes if isinstance(write, Put)]
        await cache.commit(
            [
                Write(
                    put.key.path(),
                    encode(
                        put.object
                        if put.expected
                        else with_metadata(put.object, uid="b", creationTimestamp="2026-01-01T00:00:00Z")
                    ),
                    put.expected,
                )
                for put in puts
            ]
        )


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    """Two clusters; the Deployment web of shop is placed in m1 by a policy of the namespace."""
    served = Served()
    decisions = Decisions(served)

    def of_cache(cache: Cache) -> dict[str, Any]:
        served.rbac = Rbac(cache)
        return {"authorize": served.rbac, "actions": decisions.reviews(cache, served.rbac).actions()}

    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as served.session:
        await serve(served, tasks, of_cache=of_cache)
        await served.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        for name in ("m1", "m2"):
            path = "/apis/cluster.karmada.io/v1alpha1/clusters"
            made = await served.create(path, cluster(name))
            status = cluster(name)["status"]
            assert (await served("PUT", f"{path}/{name}/status", {**made, "status": status})).code == 200
        rules = "/apis/policy.karmada.io/v1alpha1"
        placement = {"clusterAffinity": {"clusterNames": ["m1"]}}
        await served.create(
            f"{rules}/namespaces/shop/propagationpolicies", policy("web", [selector(deployment())], placement)
        )
        await served.create(
            f"{rules}/clusterpropagationpolicies",
            policy("wide", [selector(deployment())], {}, namespace=None),
        )
        await served.create("/apis/apps/v1/namespaces/shop/deployments", deployment())
        await decisions.decide(WEB)
        yield served
        await end(served)


async def grant(api: Served, *names: str) -> None:
    """ann may these, everywhere; and asks from now on."""
    api.user = ADMIN
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    role = {"metadata": {"name": "ann"}, "rules": [RULES[name] for name in names]}
    await api.create(f"{rbac}/clusterroles", role)
    binding = {
        "metadata": {"name": "ann"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "ann"},
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    await api.create(f"{rbac}/clusterrolebindings", binding)
    api.user = ANN


async def explained(api: Served, **about: str) -> Answer:
    return await api("POST", EXPLAIN, {"spec": {**ABOUT_WEB, **about}})


async def forecast(api: Served, path: str = FORECAST, **spec: Any) -> Answer:
    return await api("POST", path, {"spec": spec})


# --- what is answered ----------------------------------------------------------------------------------------


async def test_an_explanation_is_answered_and_not_stored(api: Served) -> None:
    revision = api.cache.revision
    answer = await explained(api)
    assert answer.code == 201 and answer.body["kind"] == "PlacementExplanation"
    told = answer.body["status"]
    assert told["summary"] == "Deployment web goes to m1 (3); 1 of 2 clusters can take it."
    assert told["decision"]["source"] == "recorded" and told["since"] == {"same": True}
    assert told["decision"]["terms"][0]["clusters"]["m2"]["filter"] == "ClusterAffinity"
    assert api.cache.revision == revision
    assert (await api.get(EXPLAIN)).code == 405


async def test_a_binding_stands_for_its_template(api: Served) -> None:
    about = {"apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding", "name": "web-deployment"}
    assert (await explained(api, **about)).body["status"]["template"]["name"] == "web"


async def test_what_has_no_namespace_has_a_review_of_its_own(api: Served) -> None:
    spec = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "reader"}
    await api.create(f"/{'apis/rbac.authorization.k8s.io/v1'}/clusterroles", {"metadata": {"name": "reader"}})
    answer = await api("POST", f"{ROOT}/clusterplacementexplanations", {"spec": spec})
    assert answer.body["status"]["summary"] == "No policy selects ClusterRole reader: it stays on the hub."
    refused = await api("POST", EXPLAIN, {"spec": spec})
    assert refused.code == 422 and refused.fields == ["spec.kind"]


async def test_a_forecast_says_what_would_move_and_stores_nothing(api: Served) -> None:
    revision = api.cache.revision
    gone = {"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "name": "m1"}
    answer = await forecast(api, templates=[ABOUT_WEB], delete=[gone])
    told = answer.body["status"]
    assert told["summary"] == "It would change; it could not be placed as it should."
    (row,) = told["forecasts"]
    assert row["template"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": "shop",
        "name": "web",
    }
    assert row["moves"] == [{"cluster": "m1", "before": 3}] and row["then"]["state"] == "NoClusterFit"
    assert api.cache.revision == revision


async def test_a_forecast_of_a_loss_follows_taint_policies(api: Served) -> None:
    """The policy tolerates a loss for ever, and not the taint that another gives to who is lost."""
    rules, toleration = (
        "/apis/policy.karmada.io/v1alpha1",
        {"key": TAINT_UNREACHABLE, "operator": "Exists", "effect": "NoExecute"},
    )
    anywhere = {
        "clusterAffinity": None,
        "clusterTolerations": [toleration],
        "spreadConstraints": [{"spreadByField": "cluster", "maxGroups": 1}],
    }
    spec = {"failover": {"cluster": {}}, "placement": anywhere}
    assert (await api.patch(f"{rules}/namespaces/shop/propagationpolicies/web", {"spec": spec})).code == 200
    cluster = (await api.get("/apis/cluster.karmada.io/v1alpha1/clusters/m1")).body
    lost("2026-01-01T00:00:00Z")(cluster)
    assert (await forecast(api, apply=[cluster])).body["status"]["moved"] == 0
    await api.create(f"{rules}/clustertaintpolicies", EVICT)
    (row,) = (await forecast(api, apply=[cluster])).body["status"]["forecasts"]
    assert row["moves"] == [{"cluster": "m1", "before": 3}, {"cluster": "m2", "after": 3}]


async def test_a_forecast_says_whether_the_hub_would_believe_the_losses(api: Served) -> None:
    clusters = []
    for name in ("m1", "m2"):
        at = f"/apis/cluster.karmada.io/v1alpha1/clusters/{name}"
        ready = [{"type": "Ready", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]  # fmt: skip
        assert (await api.patch(f"{at}/status", {"status": {"conditions": ready}})).code == 200
        clusters.append((await api.get(at)).body)
    assert "held" not in (await forecast(api, apply=clusters)).body["status"]
    for found in clusters:
        lost("2026-01-01T00:00:00Z")(found)
    status = (await forecast(api, apply=clusters)).body["status"]
    assert "evict nothing from m1, m2" in status["held"]
    assert forecasts(status).splitlines()[1] == status["held"]


async def test_a_forecast_of_a_namespace_shows_what_moves(api: Served) -> None:
    rule = policy("web", [selector(deployment())], {"clusterAffinity": {"clusterNames": ["m2"]}})
    told = (await forecast(api, apply=[rule])).body["status"]
    assert (told["looked"], told["moved"], told["remaining"]) == (1, 1, 0)
    told = (await forecast(api, replicas=None)).body["status"]
    assert told["summary"] == "It would not change." and told["forecasts"] == []


@pytest.mark.parametrize(
    ("keep", "moves"), [("Keep", None), ("Remove", [{"cluster": "m1", "before": 3}])], ids=["kept", "removed"]
)
async def test_a_policy_that_is_deleted(api: Served, keep: str, moves: Any) -> None:
    rules = "/apis/policy.karmada.io/v1alpha1"
    await api("DELETE", f"{rules}/clusterpropagationpolicies/wide")
    about = {"apiVersion": "policy.karmada.io/v1alpha1", "kind": "PropagationPolicy", "name": "web"}
    await api.patch(f"{rules}/namespaces/shop/propagationpolicies/web", {"spec": {"onPolicyDelete": keep}})
    (row,) = (await forecast(api, delete=[about])).body["status"]["forecasts"]
    assert row.get("moves") == moves
    assert row["then"]["state"] == ("NoPolicy" if moves else "Unclaimed")


async def test_forecasts_of_everything_are_bounded(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TEMPLATES_MAX == 500
    monkeypatch.setattr("towline.hub.api.placements.TEMPLATES_MAX", 1)
    path = "/api/v1/namespaces/shop/configmaps"
    await api.create(path, configmap("a"))
    rule = policy("maps", [selector(configmap())], {})
    told = (await forecast(api, f"{ROOT}/clusterplacementforecasts", apply=[rule])).body["status"]
    assert (told["looked"], told["remaining"]) == (1, 1)
    assert told["summary"].endswith("; 1 more were not looked at (at most 1 a request).")


async def test_too_many_forecasts_at_once_are_refused(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.hub.api.placements.WAITING_MAX", 0)
    assert (await forecast(api)).code == 429


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "code", "message"),
    [
        ({"name": "nope"}, 404, 'deployments.apps "nope" not found'),
        ({"kind": "Nope"}, 404, "spec: the hub has no kind Nope in apps/v1; `kubectl api-resources` shows those there are"),
        ({"name": ""}, 422, None),
    ],
    ids=["name", "kind", "no name"],
)  # fmt: skip
async def test_what_is_not_there(api: Served, about: Any, code: int, message: str | None) -> None:
    answer = await explained(api, **about)
    assert answer.code == code and message in (None, answer.message)


@pytest.mark.parametrize(
    ("spec", "code", "fields"),
    [
        ({"replicas": 3}, 422, ["spec.replicas"]),
        ({"templates": [{**ABOUT_WEB, "namespace": "other"}]}, 422, ["spec.templates[0].namespace"]),
        ({"apply": [configmap()]}, 422, ["spec.apply[0].kind"]),
        ({"apply": [policy("p", [{"apiVersion": "v1"}], {})]}, 422, ["spec.resourceSelectors[0].kind"]),
        ({"apply": [policy("p", [], {}, namespace="other")]}, 400, []),
        ({"delete": [{"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "name": "m9"}]}, 404, []),
        ({"templates": [ABOUT_WEB], "replicas": -1}, 422, ["spec.replicas"]),
    ],
    ids=["replicas of nothing", "elsewhere", "no cluster or policy", "bad policy", "policy elsewhere", "no such cluster", "negative"],
)  # fmt: skip
async def test_a_forecast_of_nonsense(api: Served, spec: Any, code: int, fields: list[str]) -> None:
    answer = await forecast(api, **spec)
    assert (answer.code, answer.fields) == (code, fields)


async def test_replicas_of_what_has_none(api: Served) -> None:
    await api.create("/api/v1/namespaces/shop/configmaps", configmap())
    template = {"apiVersion": "v1", "kind": "ConfigMap", "name": "settings"}
    answer = await forecast(api, templates=[template], replicas=3)
    assert answer.code == 422 and answer.message.endswith("configmaps have no replicas")


# --- who may -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "refused"),
    [
        ((), 'cannot create resource "placementexplanations" in API group "towline.io" in the namespace "shop"'),
        (("reviews",), 'cannot get resource "deployments" in API group "apps" in the namespace "shop"'),
        (("reviews", "deployments"), 'cannot get resource "resourcebindings" in API group "work.karmada.io"'),
    ],
    ids=["the review", "the template", "the binding"],
)  # fmt: skip
async def test_an_explanation_needs(api: Served, granted: tuple[str, ...], refused: str) -> None:
    await grant(api, *granted)
    answer = await explained(api)
    assert answer.code == 403 and refused in answer.message


async def test_an_explanation_withholds_what_the_asker_may_not_list(api: Served) -> None:
    await grant(api, "reviews", "deployments", "bindings")
    answer = await explained(api)
    told = answer.body["status"]
    assert told["summary"] == "Deployment web goes to m1 (3); 1 of 2 clusters can take it."
    assert "decision" not in told and "since" not in told
    assert [row["policy"] for row in told["policy"]["considered"]] == ["policy(shop/web)"]
    assert told["withheld"] == [
        "decision: needs list on clusters.cluster.karmada.io",
        "policy: needs list on propagationpolicies.policy.karmada.io",
        "policy: needs list on clusterpropagationpolicies.policy.karmada.io",
    ]
    assert b"m2" not in answer.raw and b"wide" not in answer.raw


async def test_moves_are_for_who_may_list_clusters(api: Served) -> None:
    path = "/apis/cluster.karmada.io/v1alpha1/clusters/m1"
    drained = [{"key": TAINT_DRAIN, "effect": "NoExecute"}]
    patched = await api("PATCH", path, {"spec": {"taints": drained}}, type="application/merge-patch+json")
    assert patched.code == 200
    (move,) = (await explained(api)).body["status"]["moves"]
    assert (move["cluster"], move["state"]) == ("m1", "ToLeave")
    await grant(api, "reviews", "deployments", "bindings")
    assert "moves" not in (await explained(api)).body["status"]


async def test_overrides_are_for_who_may_list_them(api: Served) -> None:
    path = "/apis/policy.karmada.io/v1alpha1/namespaces/shop/overridepolicies"
    await api.create(path, over("tag", resourceSelectors=[selector(deployment())]))
    assert (await explained(api)).body["status"]["overrides"][0]["clusters"] == ["m1"]
    await grant(api, "reviews", "deployments", "bindings", "clusters")
    told = (await explained(api)).body["status"]
    assert "overrides" not in told
    assert told["withheld"][0] == "overrides: needs list on overridepolicies.policy.karmada.io"


async def test_who_may_list_sees_all(api: Served) -> None:
    await grant(api, *RULES)
    told = (await explained(api)).body["status"]
    assert "withheld" not in told and len(told["policy"]["considered"]) == 2 and "decision" in told


@pytest.mark.parametrize(
    ("granted", "refused"),
    [
        (("reviews", "deployments", "bindings"), 'cannot list resource "clusters"'),
        (("reviews", "clusters"), 'cannot list resource "resourcebindings"'),
    ],
    ids=["clusters", "bindings"],
)  # fmt: skip
async def test_a_forecast_needs(api: Served, granted: tuple[str, ...], refused: str) -> None:
    await grant(api, *granted)
    answer = await forecast(api)
    assert answer.code == 403 and refused in answer.message


async def test_a_forecast_leaves_out_what_the_asker_may_not_get(api: Served) -> None:
    await grant(api, "reviews", "clusters", "bindings")
    told = (await forecast(api)).body["status"]
    assert (told["looked"], told["withheld"]) == (0, ["1 template(s) that the asker may not get"])


async def test_viewers_of_a_namespace_may_ask(api: Served) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    binding = {
        "metadata": {"name": "ann"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "towline-view"},
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    await api.create(f"{rbac}/namespaces/shop/rolebindings", binding)
    api.user = ANN
    assert 'cannot get resource "deployments"' in (await explained(api)).message
