"""Whatever happens to workloads, in whatever order: once it stops, they are as their specs say, and at rest."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simcluster.harness import Member, template, workload

KINDS = ("Deployment", "StatefulSet", "ReplicaSet")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("scale"), st.integers(0, 5)),
        st.tuples(st.just("image"), st.integers(1, 3)),
        st.tuples(st.just("fail"), st.booleans()),
        st.tuples(st.just("pass"), st.floats(0, 3)),
        st.tuples(st.just("kill"), st.integers(0, 4)),
        st.tuples(st.just("orphan"), st.none()),
        st.tuples(st.just("remake"), st.integers(0, 3)),
    ),
    max_size=10,
)


def do(member: Member, kind: str, what: str, value: Any) -> None:
    if what == "scale":
        member.change(kind, "web", replicas=value)
    elif what == "image" and kind != "ReplicaSet":
        member.change(kind, "web", template=template(f"nginx:{value}"))
    elif what == "fail":
        member.annotate(kind, "web", fail="true" if value else "")
    elif what == "pass":
        member.pass_seconds(value)
    elif what == "kill":
        for pod in member.all("Pod")[: value + 1]:
            member.delete("Pod", pod["metadata"]["name"])
    elif what == "orphan" and kind == "Deployment":
        member.delete(kind, "web", "orphan")
        member.run()
        member.apply(workload(kind, replicas=2))
    elif what == "remake":
        member.delete(kind, "web")
        member.apply(workload(kind, replicas=value))


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(KINDS), steps=STEPS, at_once=st.booleans())
def test_workloads_end_as_their_specs_say(kind: str, steps: list[tuple[str, Any]], at_once: bool) -> None:
    member = Member(nodes=3)
    member.apply(workload(kind, replicas=2))
    for what, value in steps:
        do(member, kind, what, value)
        if not at_once:
            member.run()
    member.annotate(kind, "web")
    member.pass_seconds(60)

    obj = member.need(kind, "web")
    wanted = obj["spec"]["replicas"]
    status = obj["status"]
    assert (status.get("replicas", 0), status.get("readyReplicas", 0)) == (wanted, wanted)
    assert status.get("availableReplicas", 0) == wanted
    assert status["observedGeneration"] == obj["metadata"]["generation"]
    pods = member.all("Pod")
    assert len(pods) == wanted
    image = obj["spec"]["template"]["spec"]["containers"][0]["image"]
    assert {p["spec"]["containers"][0]["image"] for p in pods} <= {image}
    assert len({p["status"]["podIP"] for p in pods}) == wanted
    alive = {o["metadata"]["uid"] for o in member.objects.values()}
    for held in member.objects.values():
        for owner in held["metadata"].get("ownerReferences") or ():
            assert owner["uid"] in alive
    for index in range(3):
        on_node = sum(p["spec"]["nodeName"] == f"node-{index}" for p in pods)
        assert member.cluster.use_of(f"node-{index}").pods == on_node
