"""Which override policies count where, in which order, and what a rule that fails does (Karmada 2.5)."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.decide.test_works import KEY, binding, manifest
from tests.decide.test_works import template as untouched
from tests.decide.world import World, cluster, cluster_role, deployment, namespace, selector
from towline.hub.decide import aggregation, overrides, works
from towline.hub.decide.overrides import NO_OVERRIDES, OverrideFailed, with_block
from towline.hub.decide.wire import Blocked, Phase, WorkReport
from towline.kube import names
from towline.kube.objects import Key, Object, copy, revision_of, uid_of

WEB = deployment("web", labels={"app": "web"})
BY_KIND, BY_NAME = selector(WEB), selector(WEB, name="web")
BY_LABEL = selector(WEB, labelSelector={"matchLabels": {"app": "web"}})


def over(name: str, namespace: str | None = "shop", **spec: Any) -> Object:
    """An OverridePolicy, or with `namespace=None` a ClusterOverridePolicy. Without rules it adds its name to a label."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    if "overrideRules" not in spec and "overriders" not in spec:
        spec["overrideRules"] = [{"overriders": note(name)}]
    return {
        "apiVersion": "policy.karmada.io/v1alpha1",
        "kind": "OverridePolicy" if namespace else "ClusterOverridePolicy",
        "metadata": metadata,
        "spec": spec,
    }


def note(text: str) -> Object:
    """Overriders of which the last one wins, and which tell that they were there."""
    return {"labelsOverrider": [{"operator": "add", "value": {"last": text, f"was-{text}": ""}}]}


def a_world(*objects: Object) -> World:
    world = World()
    for obj in (
        cluster("m1", {"tier": "gold"}, region="eu", zones=["z1"]),
        cluster("m2", region="us"),
        *objects,
    ):
        world.put(obj)
    return world


def applied(world: World, obj: Object = WEB, name: str = "m1") -> Object:
    """`obj` as cluster `name` gets it."""
    obj = copy(obj)
    before = copy(obj)
    found = overrides.matching(world, obj)
    rules, _ = overrides.rules_for(found, name)
    after, _ = overrides.apply(obj, rules, found.cluster(name))
    assert obj == before
    return after


def order(world: World, obj: Object = WEB, name: str = "m1") -> list[str]:
    rules, _ = overrides.rules_for(overrides.matching(world, obj), name)
    return [f"{rule.namespace}/{rule.name}" for rule in rules]


# --- which, and in which order -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selectors", "counts"),
    [
        (None, True),
        ([], True),
        ([BY_KIND], True),
        ([BY_NAME], True),
        ([BY_LABEL], True),
        ([selector(WEB, namespace="shop")], True),
        ([selector(cluster_role()), BY_NAME], True),
        ([selector(WEB, name="other")], False),
        ([selector(WEB, labelSelector={"matchLabels": {"app": "x"}})], False),
        ([{**BY_KIND, "apiVersion": "apps/v1beta1"}], False),
        ([selector(cluster_role())], False),
    ],
)
@pytest.mark.parametrize("namespace", ["shop", None])
def test_selectors(selectors: Any, counts: bool, namespace: str | None) -> None:
    spec = {} if selectors is None else {"resourceSelectors": selectors}
    assert bool(order(a_world(over("p", namespace, **spec)))) is counts


def test_without_policies_nothing_is_asked() -> None:
    assert overrides.matching(a_world(), WEB) is NO_OVERRIDES
    assert overrides.rules_for(NO_OVERRIDES, "m1") == ((), ())


def test_a_policy_of_another_namespace_does_not_count() -> None:
    assert order(a_world(over("p", "other"))) == []


def test_cluster_scoped_templates_get_cluster_policies_only() -> None:
    world = a_world(over("p", None), over("p", "shop"), over("q", "default"))
    assert order(world, cluster_role()) == ["/p"]
    assert order(world, namespace("shop")) == ["/p"]


def test_cluster_policies_come_first_and_the_most_specific_last() -> None:
    world = a_world(
        over("a", resourceSelectors=[BY_NAME]),
        over("d", resourceSelectors=[BY_LABEL]),
        over("c", resourceSelectors=[BY_KIND]),
        over("b"),
        over("z", None, resourceSelectors=[BY_NAME]),
        over("y", None, resourceSelectors=[BY_LABEL, BY_KIND]),
        over("x", None),
    )
    assert order(world) == ["/x", "/y", "/z", "shop/b", "shop/c", "shop/d", "shop/a"]
    assert applied(world)["metadata"]["labels"]["last"] == "a"


def test_ties_go_by_name() -> None:
    world = a_world(over("b", resourceSelectors=[BY_KIND]), over("a", resourceSelectors=[BY_KIND]), over("c"))
    assert order(world) == ["shop/a", "shop/b", "shop/c"]


def test_rules_of_a_policy_are_carried_out_in_their_order() -> None:
    rules = [
        {"overriders": note("one")},
        {"overriders": note("two"), "targetCluster": {"clusterNames": ["m1"]}},
    ]
    world = a_world(over("p", overrideRules=rules))
    assert applied(world)["metadata"]["labels"]["last"] == "two"
    assert applied(world, name="m2")["metadata"]["labels"]["last"] == "one"


@pytest.mark.parametrize(
    ("target", "clusters"),
    [
        (None, ["m1", "m2"]),
        ({}, ["m1", "m2"]),
        ({"clusterNames": ["m2"]}, ["m2"]),
        ({"exclude": ["m2"]}, ["m1"]),
        ({"labelSelector": {"matchLabels": {"tier": "gold"}}}, ["m1"]),
        ({"labelSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}}, ["m2"]),
        (
            {"fieldSelector": {"matchExpressions": [{"key": "region", "operator": "In", "values": ["us"]}]}},
            ["m2"],
        ),
        (
            {"fieldSelector": {"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["z1"]}]}},
            ["m2"],
        ),
        ({"clusterNames": ["m1", "m2"], "labelSelector": {"matchLabels": {"tier": "gold"}}}, ["m1"]),
    ],
)
def test_target_clusters_in_both_forms(target: Any, clusters: list[str]) -> None:
    rule = {"overriders": note("p"), **({} if target is None else {"targetCluster": target})}
    for spec in ({"overrideRules": [rule]}, rule):
        world = a_world(over("p", **spec))
        assert [name for name in ("m1", "m2") if order(world, name=name)] == clusters


def test_the_path_of_a_rule_is_the_one_that_its_author_wrote() -> None:
    bad = {"plaintext": [{"path": "/spec/x", "operator": "remove"}]}
    for spec, path in (
        ({"overrideRules": [{"overriders": {}}, {"overriders": bad}]}, "spec.overrideRules[1].overriders"),
        ({"overriders": bad}, "spec.overriders"),
    ):
        with pytest.raises(OverrideFailed) as caught:
            applied(a_world(over("p", **spec)))
        assert caught.value.blocked == Blocked(
            "override policy(shop/p)", f"{path}.plaintext[0]: cannot remove /spec/x: the path does not exist"
        )


def test_variables_count_only_where_the_policy_says_so() -> None:
    rules = [{"overriders": {"labelsOverrider": [{"operator": "add", "value": {"at": "${cluster.region}"}}]}}]
    world = a_world(over("p", overrideRules=rules, variables="Enabled"))
    assert [applied(world, name=name)["metadata"]["labels"]["at"] for name in ("m1", "m2")] == ["eu", "us"]
    annotations = [{"operator": "add", "value": {"at": "${cluster.region}"}}]
    plain = a_world(over("p", overrideRules=[{"overriders": {"annotationsOverrider": annotations}}]))
    assert applied(plain)["metadata"]["annotations"] == {"at": "${cluster.region}"}


@cases(60)
@given(st.data())
def test_the_order_in_the_store_does_not_matter_and_nothing_is_mutated(data: st.DataObject) -> None:
    targets = st.sampled_from(
        [None, {"clusterNames": ["m1"]}, {"labelSelector": {"matchLabels": {"tier": "gold"}}}]
    )
    changes = st.sampled_from(
        [
            note("x"),
            note("y"),
            {"plaintext": [{"path": "/spec/replicas", "operator": "replace", "value": 7}]},
            {"plaintext": [{"path": "/spec/replicas", "operator": "remove"}]},
            {"imageOverrider": [{"component": "Tag", "operator": "add", "value": "-x"}]},
            {"argsOverrider": [{"containerName": "main", "operator": "add", "value": ["x"]}]},
        ]
    )
    policies = [
        over(
            f"p{n}",
            data.draw(st.sampled_from(["shop", None])),
            resourceSelectors=data.draw(st.sampled_from([[], [BY_KIND], [BY_LABEL], [BY_NAME]])),
            overrideRules=[
                {"overriders": data.draw(changes), **({"targetCluster": target} if target else {})}
                for target in data.draw(st.lists(targets, max_size=2))
            ],
        )
        for n in range(data.draw(st.integers(0, 4)))
    ]
    results: list[tuple[str, Object | Blocked]] = []
    for seed in range(3):
        shuffled = list(policies)
        random.Random(seed).shuffle(shuffled)
        world = a_world(*shuffled)
        frozen = copy(list(world.objects.values()))
        for name in ("m1", "m2"):
            for _ in range(2):
                try:
                    results.append((name, applied(world, name=name)))
                except OverrideFailed as failure:
                    results.append((name, failure.blocked))
        assert list(world.objects.values()) == frozen
    for name in ("m1", "m2"):
        assert all(result == results[0 if name == "m1" else 2] for result in results if result[0] == name)


# --- works ---------------------------------------------------------------------------------------------------


def rendered(world: World, bound: Object | None = None, **more: Any) -> dict[str, Any]:
    template = {**untouched(), "spec": WEB["spec"]}
    return works.of_binding(
        KEY, bound or binding(), template, 41, overrides.matching(world, template), **more
    )


IMAGE = {"imageOverrider": [{"component": "Registry", "operator": "replace", "value": "eu.example"}]}
BROKEN = {"plaintext": [{"path": "/spec/absent", "operator": "remove"}]}
FOR_M1 = {"clusterNames": ["m1"]}


def test_overrides_come_after_replicas_are_revised_and_clusters_with_the_same_share_bytes() -> None:
    change = {"path": "/spec/replicas", "operator": "replace", "value": 9}
    rules = [
        {"overriders": IMAGE, "targetCluster": {"exclude": ["m3"]}},
        {"overriders": {"plaintext": [change]}},
    ]
    found = rendered(
        a_world(cluster("m3"), over("p", overrideRules=rules)), binding({"m1": 2, "m2": 2, "m3": 2})
    )
    assert [manifest(found[name])["spec"]["replicas"] for name in ("m1", "m2", "m3")] == [9, 9, 9]
    first, second, other = (found[name].pieces[0] for name in ("m1", "m2", "m3"))
    assert all(first[at] is second[at] for at in (0, 2, 4)) and first[4] is not other[4]


def test_what_was_applied_is_told_in_annotations_of_the_work() -> None:
    world = a_world(over("p", overriders=IMAGE), over("c", None, overriders=note("c"), targetCluster=FOR_M1))
    found = rendered(world)
    told = {name: orjson.loads(text) for name, text in found["m1"].overrides.annotations.items()}
    assert told == {
        names.APPLIED_OVERRIDES: [{"policyName": "p", "overriders": IMAGE}],
        names.APPLIED_CLUSTER_OVERRIDES: [{"policyName": "c", "overriders": note("c")}],
    }
    assert list(found["m2"].overrides.annotations) == [names.APPLIED_OVERRIDES]
    assert found["m1"].overrides.policies == ("cluster override policy(c)", "override policy(shop/p)")


def test_a_broken_rule_blocks_its_cluster_only() -> None:
    rules = [{"overriders": IMAGE}, {"overriders": BROKEN, "targetCluster": FOR_M1}]
    found = rendered(a_world(over("p", overrideRules=rules)))
    assert found["m1"].blocked is not None and found["m1"].manifests == () and found["m1"].held_back
    assert not found["m1"].removing
    assert found["m2"].blocked is None and manifest(found["m2"])["spec"]["template"]["spec"]["containers"][
        0
    ] == {
        "name": "main",
        "image": "eu.example/nginx:1",
    }


def test_a_manifest_that_overrides_make_too_large_is_not_sent() -> None:
    big = {"path": "/spec/x", "operator": "add", "value": "x" * works.MANIFEST_BYTES_MAX}
    found = rendered(a_world(over("p", overriders={"plaintext": [big]})))
    assert "more than" in str(found["m1"].blocked)


def test_what_was_rendered_before_is_used_again() -> None:
    world = a_world(over("p", variables="Enabled", overriders=note("${cluster.name}")))
    variants: dict[Any, Any] = {}
    first = rendered(world, rendered=variants)
    assert len(variants) == 3
    again = rendered(world, rendered=variants)
    assert len(variants) == 3 and again["m1"].pieces[0][4] is first["m1"].pieces[0][4]
    assert list(rendered(world, rendered=variants, only="m2")) == ["m2"]


def test_a_hub_namespace_gets_cluster_policies() -> None:
    space = namespace("shop")
    space["metadata"]["uid"] = "n-1"
    world = a_world(over("c", None, resourceSelectors=[selector(space)]), over("p"))
    render = works.namespace_renderer(space, 3, overrides.matching(world, space))
    assert manifest(render("m1", None))["metadata"]["labels"]["last"] == "c"


# --- what a blocked cluster says -----------------------------------------------------------------------------

BLOCKED = Blocked("override policy(shop/p)", "spec.overriders: no")
FINE = {"clusterName": "m1", "applied": True, "health": "Healthy", "status": {"replicas": 1}}


def test_a_block_lies_over_what_the_agent_says_and_is_taken_back() -> None:
    entry = with_block(FINE, BLOCKED)
    assert entry == {
        **FINE,
        "applied": False,
        "appliedMessage": "overrides cannot be applied: override policy(shop/p): spec.overriders: no",
    }
    assert with_block(entry, BLOCKED) == entry
    assert with_block(entry, None) == {"clusterName": "m1", "health": "Healthy", "status": {"replicas": 1}}
    assert with_block(FINE, None) == FINE
    failed = {"clusterName": "m1", "applied": False, "appliedMessage": "no room", "health": "Unknown"}
    assert with_block(failed, None) == failed, "the agent's own words stay"


def test_the_report_that_a_blocked_entry_was_made_from_is_known_while_it_is_blocked() -> None:
    entry = with_block(FINE, BLOCKED)
    assert works.stored_report_hash(entry, blocked=True) == works.stored_report_hash(FINE)
    assert works.stored_report_hash(entry) == b"", "then it is asked for again"
    assert works.stored_report_hash(with_block({"clusterName": "m1"}, BLOCKED), blocked=True) == b""


def test_aggregation_tells_a_block_and_its_end() -> None:
    world = a_world(deployment())
    template = world.get(Key("apps", "deployments", "shop", "web")) or {}
    bound = binding({"m1": 1, "m2": 1}, [FINE, {**FINE, "clusterName": "m2"}])
    bound["spec"]["resource"]["uid"] = uid_of(template)
    at = world.put(bound)

    def decide(blocked: Any, reports: Any = None) -> tuple[Any, str | None]:
        plan = aggregation.decide(world, at, world.now, reports or {}, blocked)
        world.apply(plan)
        assert aggregation.decide(world, at, world.now, reports or {}, blocked).writes == (), "at rest"
        assert not [note for note in plan.events if note.reason == "SyncFailed"]
        status = world.objects[at]["status"]
        full = next((c["status"] for c in status.get("conditions", ()) if c["type"] == "FullyApplied"), None)
        return status["aggregatedStatus"], full

    entries, full = decide({"m1": BLOCKED})
    assert [entry["applied"] for entry in entries] == [False, True] and full == "False"
    assert entries[0]["status"] == {"replicas": 1}, "what runs there is still told"
    still = WorkReport("w", "u", b"", Phase.APPLIED)
    entries, full = decide({"m1": BLOCKED}, {"m1": still})
    assert entries[0]["applied"] is False
    entries, full = decide({})
    assert "applied" not in entries[0] and full == "False"
    entries, full = decide({}, {"m1": still})
    assert [entry["applied"] for entry in entries] == [True, True] and full == "True"
    assert revision_of(world.objects[at])
